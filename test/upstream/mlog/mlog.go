package mlog

import (
	"context"
	"os"

	"k8s.io/klog/v2"
)

// The formats. All is text.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// Setup returns what is to be called at the end.
func Setup() func() { return klog.Flush }

// ValidateAndSetKlogLevelAndFormatGlobally leaves the level that klog took from -v.
func ValidateAndSetKlogLevelAndFormatGlobally(context.Context, klog.Level, string) error { return nil }

// Error logs.
func Error(what string, err error) { klog.ErrorS(err, what) }

// Fatal logs and ends the program.
func Fatal(err error) {
	klog.ErrorS(err, "fatal")
	klog.Flush()
	os.Exit(1)
}
