// Package csi answers kubelet's CSI calls: it validates, translates to volumes and
// answers with codes. What a call does is decided elsewhere.
package csi
