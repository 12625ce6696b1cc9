package step

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// still is how often a step that is not done says that it goes on.
const still = 20 * time.Second

// Log prints steps with the time since it was made.
type Log struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

// New returns a Log that writes to w and starts its clock.
func New(w io.Writer) *Log {
	return &Log{w: w, start: time.Now()}
}

// Do runs f under a name and returns its error.
func (l *Log) Do(name string, f func() error) error {
	began := time.Now()
	quit := make(chan struct{})
	go l.tick(name, began, quit)
	err := f()
	close(quit)
	if err != nil {
		l.Say("%s: stopped after %s", name, Took(time.Since(began)))
		return err
	}
	l.Say("%s (%s)", name, Took(time.Since(began)))
	return nil
}

// Say prints one line with the time elapsed so far.
func (l *Log) Say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "%7s  %s\n", Took(time.Since(l.start)), fmt.Sprintf(format, args...))
}

func (l *Log) tick(name string, began time.Time, quit <-chan struct{}) {
	t := time.NewTicker(still)
	defer t.Stop()
	for {
		select {
		case <-quit:
			return
		case <-t.C:
			l.Say("%s ... %s", name, Took(time.Since(began)))
		}
	}
}

// Took writes a duration as people read it: 4.2s, 3m07s.
func Took(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
}
