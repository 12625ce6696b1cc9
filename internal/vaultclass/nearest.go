package vaultclass

import "strings"

// nearest returns the known name that differs from name only by case or by one
// letter too many, too few or wrong; "" if there is none.
func nearest(name string, known []string) string {
	lower := strings.ToLower(name)
	for _, k := range known {
		if oneLetterApart(lower, strings.ToLower(k)) {
			return k
		}
	}
	return ""
}

func oneLetterApart(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch len(b) - len(a) {
	case 0:
		return i == len(a) || a[i+1:] == b[i+1:]
	case 1:
		return a[i:] == b[i+1:]
	}
	return false
}
