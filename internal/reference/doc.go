// Package reference makes the tables of the documentation out of what programs know of
// themselves.
package reference
