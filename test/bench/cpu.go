package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// processors is the processor time that each of those who have a part in a publish has
// used so far.
type processors struct{ driver, provider, api, etcd, client time.Duration }

func (b *bench) processors(d *stand.Driver) (p processors, err error) {
	api, err := processOf("kube-apiserver")
	if err != nil {
		return p, err
	}
	etcd, err := processOf("etcd")
	if err != nil {
		return p, err
	}
	for _, of := range []struct {
		pid  int
		into *time.Duration
	}{{d.Pid, &p.driver}, {b.provider.Pid, &p.provider}, {api, &p.api}, {etcd, &p.etcd}, {os.Getpid(), &p.client}} {
		if *of.into, err = cpuTime(of.pid); err != nil {
			return p, err
		}
	}
	return p, nil
}

// since is what was used since then, for each of so many calls.
func (p processors) since(before processors, calls int) processors {
	each := func(now, then time.Duration) time.Duration { return (now - then) / time.Duration(calls) }
	return processors{
		driver: each(p.driver, before.driver), provider: each(p.provider, before.provider), api: each(p.api, before.api),
		etcd: each(p.etcd, before.etcd), client: each(p.client, before.client),
	}
}

func (p processors) total() time.Duration { return p.driver + p.provider + p.api + p.etcd + p.client }

// String says who uses it.
func (p processors) String() string {
	return fmt.Sprintf("%.2f ms driver, %.2f ms provider, %.2f ms API server, %.2f ms etcd, %.2f ms client",
		millis(p.driver), millis(p.provider), millis(p.api), millis(p.etcd), millis(p.client))
}

// processOf finds a process by its name; the namespace has no other.
func processOf(name string) (int, error) {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	for _, file := range names {
		if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == name {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, errors.New("no process is called " + name)
}
