package debian

import (
	"slices"
	"testing"
)

func TestLacking(t *testing.T) {
	got := lacking([]Package{
		{Name: "shell", Proof: "sh"},
		{Name: "passwd", Proof: "/etc/passwd"},
		{Name: "unicorn", Proof: "no-such-command"},
		{Name: "rainbow", Proof: "/no/such/file"},
	})
	if want := []string{"unicorn", "rainbow"}; !slices.Equal(got, want) {
		t.Errorf("lacking = %v, want %v", got, want)
	}
}
