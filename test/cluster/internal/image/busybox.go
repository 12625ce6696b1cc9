package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/test/internal/plan"
)

// pause ends when it is asked to and, being the first process of a pod, takes
// in the orphans of the others.
const pause = `trap "exit 0" TERM INT; while :; do sleep 3600 & wait $!; done`

// Base writes the images of every node into a folder and returns their paths.
func Base(ctx context.Context, dir string) ([]string, error) {
	l, err := busybox(ctx)
	if err != nil {
		return nil, err
	}
	images := []image{
		{tag: plan.PauseImage, entrypoint: []string{"/bin/sh", "-c", pause}, layer: l},
		{tag: plan.BusyboxImage, command: []string{"sh"}, layer: l},
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var paths []string
	for n, i := range images {
		path := filepath.Join(dir, fmt.Sprintf("base-%d.tar", n))
		if err := i.write(path); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// busybox returns a layer with the program and a link for each of its applets.
func busybox(ctx context.Context) ([]byte, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	applets, err := exec.CommandContext(ctx, path, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list the applets of %s: %w", path, err)
	}
	entries := []entry{
		{name: "bin/", mode: 0o755},
		{name: "etc/", mode: 0o755},
		{name: "root/", mode: 0o700},
		{name: "tmp/", mode: 0o1777},
		{name: "etc/passwd", data: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")},
		{name: "etc/group", data: []byte("root:x:0:\nnogroup:x:65534:\n")},
		{name: "bin/busybox", mode: 0o755, data: program},
	}
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet != "busybox" {
			entries = append(entries, entry{name: "bin/" + applet, link: "busybox"})
		}
	}
	return pack(entries)
}
