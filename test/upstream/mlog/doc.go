// Package mlog is what the driver that is built here calls to set up its log. It logs as
// klog does by default, in text, at the level of the flag -v.
package mlog
