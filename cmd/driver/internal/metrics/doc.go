// Package metrics counts what the driver does, under the names that users of the
// upstream driver know (driver-contract 7).
package metrics
