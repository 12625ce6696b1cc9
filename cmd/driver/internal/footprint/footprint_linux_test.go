package footprint

import "testing"

func TestReadOnly(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"00400000-0069f000 r-xp 00000000 fe:00 1 /driver": true,
		"0069f000-00957000 r--p 0029f000 fe:00 1 /driver": true,
		"00957000-00990000 rw-p 00557000 fe:00 1 /driver": false, // changed in memory
		"7f0000000000-7f0000001000 r-xp 00000000 00:00 0": false,
		"7f00-7f01 r--p 00000000 fe:00 2 /lib/another.so": false,
		"nonsense": false, "": false,
	} {
		start, end, ok := readOnly(line, "/driver")
		if ok != want || ok && start >= end {
			t.Errorf("%q: %x-%x %v", line, start, end, ok)
		}
	}
}

func TestShedKeepsTheProgramRunning(t *testing.T) {
	t.Parallel()
	for range 3 {
		if err := Shed(); err != nil {
			t.Fatal(err)
		}
	}
}
