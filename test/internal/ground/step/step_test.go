package step

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTook(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                       "0.0s",
		4240 * time.Millisecond: "4.2s",
		time.Minute:             "1m00s",
		187 * time.Second:       "3m07s",
		2 * time.Hour:           "120m00s",
	} {
		if got := Took(d); got != want {
			t.Errorf("Took(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestDo(t *testing.T) {
	var out bytes.Buffer
	l := New(&out)
	if err := l.Do("dig", func() error { return nil }); err != nil {
		t.Error(err)
	}
	broken := errors.New("broken")
	if err := l.Do("build", func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"dig (0.0s)", "build: stopped after 0.0s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
}
