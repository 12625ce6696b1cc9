// Package coalesce makes one call to a store out of those that many volumes need at
// the same time.
package coalesce
