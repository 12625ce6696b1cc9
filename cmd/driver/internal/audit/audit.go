package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// Stdout is the path that stands for the standard output.
const Stdout = "-"

const (
	fileMode = 0o600
	// lookEvery is how often it is looked whether the file was moved away, by a tool that
	// rotates logs.
	lookEvery = time.Second
)

// Log writes one line of JSON per entry. A line is written before what it tells of is
// answered.
type Log struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	file   *os.File
	looked time.Time
	failed bool
}

var _ rotation.Journal = (*Log)(nil)

// Open opens the log at path, and adds to what is there.
func Open(path string, log *slog.Logger) (*Log, error) {
	l := &Log{path: path, log: log, file: os.Stdout}
	if path == Stdout {
		return l, nil
	}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	return l, nil
}

func (l *Log) open() error {
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	l.file, l.looked = file, time.Now()
	return nil
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.path == Stdout {
		return nil
	}
	return l.file.Close()
}

// line is what is written. Names are those of Kubernetes' own audit events where they
// have one.
type line struct {
	Time           time.Time `json:"time"`
	Trigger        string    `json:"trigger"`
	Result         string    `json:"result"`
	Namespace      string    `json:"namespace"`
	Pod            string    `json:"pod"`
	UID            string    `json:"uid"`
	ServiceAccount string    `json:"serviceAccount"`
	Class          string    `json:"class"`
	Provider       string    `json:"provider,omitempty"`
	Secret         string    `json:"secret,omitempty"`
	Objects        []object  `json:"objects,omitempty"`
	Kind           string    `json:"kind,omitempty"`
	Error          string    `json:"error,omitempty"`
}

type object struct {
	ID      string `json:"id"`
	Version string `json:"version"`
}

// Note implements [rotation.Journal].
func (l *Log) Note(e rotation.Entry) {
	text, err := json.Marshal(asLine(e)) //nolint:gosec // the name of a Secret, not its content
	if err != nil {
		return // strings and times cannot fail
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lookForFile()
	_, err = l.file.Write(append(text, '\n'))
	l.complain(err)
}

func asLine(e rotation.Entry) line {
	text := line{
		Time: e.Time.UTC(), Trigger: string(e.Trigger), Result: "unchanged",
		Namespace: e.Pod.Namespace, Pod: e.Pod.Name, UID: e.Pod.UID, ServiceAccount: e.Pod.ServiceAccount,
		Class: e.Class, Provider: e.Provider, Secret: e.Secret,
	}
	for _, v := range e.Versions {
		text.Objects = append(text.Objects, object{v.ID, v.Version})
	}
	switch {
	case e.Err != nil:
		text.Result, text.Kind, text.Error = "failed", provider.KindOf(e.Err).String(), e.Err.Error()
	case e.Changed:
		text.Result = "delivered"
	}
	return text
}

// lookForFile goes on in a new file when the old one was moved or removed.
func (l *Log) lookForFile() {
	if l.path == Stdout || time.Since(l.looked) < lookEvery {
		return
	}
	l.looked = time.Now()
	there, err := os.Stat(l.path)
	ours, ourErr := l.file.Stat()
	if err == nil && ourErr == nil && os.SameFile(there, ours) {
		return
	}
	old := l.file
	if err := l.open(); err != nil {
		l.complain(err)
		return
	}
	closeQuietly(old)
}

// complain says once that lines are lost, and when they are not any more.
func (l *Log) complain(err error) {
	switch {
	case err != nil && !l.failed:
		l.log.Error("write the audit log: lines are lost until this is mended", slog.String("path", l.path), slog.String("err", err.Error()))
	case err == nil && l.failed:
		l.log.Info("the audit log is written again", slog.String("path", l.path))
	}
	l.failed = err != nil
}

// closeQuietly closes what was written to before, line by line.
func closeQuietly(c io.Closer) { _ = c.Close() }
