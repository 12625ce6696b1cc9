package provider

import (
	"fmt"
	"log/slog"
)

// Secret is a string that must not be seen: however it is printed, logged or
// encoded as text, it shows "[redacted]". Convert it with string(s) at the one
// place that needs the value.
type Secret string

const redacted = "[redacted]"

// Format implements [fmt.Formatter] for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String implements [fmt.Stringer].
func (Secret) String() string { return redacted }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], which JSON encoders use too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
