package provider_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// shelf is a provider whose store is a directory: one directory for each
// namespace, one file for each secret.
type shelf struct{ root *os.Root }

func openShelf(dir string) (provider.Provider, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return &shelf{root: root}, nil
}

// Mount implements [provider.Provider]. The parameter files names what to mount.
func (s *shelf) Mount(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	names := strings.Fields(req.Parameters["files"])
	if len(names) == 0 {
		return nil, provider.Errorf(provider.Invalid, "parameter files is missing: name the files to mount, with spaces between")
	}
	// The pod gets what is its namespace's: no name leads out of this directory.
	own, err := s.root.OpenRoot(req.Pod.Namespace)
	if err != nil {
		return nil, provider.Errorf(kindOf(err), "open the files of namespace %s: %w", req.Pod.Namespace, err)
	}
	defer func() { _ = own.Close() }()
	resp := &provider.Response{}
	for _, name := range names {
		contents, version, err := read(own, name)
		if err != nil {
			return nil, provider.Errorf(kindOf(err), "read file %q: %w", name, err)
		}
		resp.Files = append(resp.Files, provider.File{Path: name, Contents: contents})
		resp.Versions = append(resp.Versions, provider.Version{ID: name, Version: version})
	}
	return resp, ctx.Err()
}

// read returns a file and its version: the time of its last change, which tells
// nothing about the contents.
func read(dir *os.Root, name string) (contents []byte, version string, err error) {
	file, err := dir.Open(name)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, "", err
	}
	contents, err = io.ReadAll(file)
	return contents, info.ModTime().UTC().Format(time.RFC3339Nano), err
}

func kindOf(err error) provider.Kind {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return provider.NotFound
	case errors.Is(err, fs.ErrPermission):
		return provider.Denied
	}
	return provider.Unknown
}

// A provider is served on a socket and asked as the driver asks it. A real one has
// a main function instead of all this:
//
//	func main() {
//		dir := flag.String("dir", "/var/lib/shelf", "directory of the secrets")
//		provider.Main("shelf", func(context.Context, *slog.Logger) (provider.Provider, error) {
//			return openShelf(*dir)
//		})
//	}
func Example() {
	dir, err := os.MkdirTemp("", "shelf")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	store := filepath.Join(dir, "store")
	fmt.Println("fill the store:", errors.Join(
		os.MkdirAll(filepath.Join(store, "blog"), 0o700),
		os.MkdirAll(filepath.Join(store, "shop"), 0o700),
		os.WriteFile(filepath.Join(store, "shop", "password"), []byte("correct-horse"), 0o600),
	))

	log := slog.New(slog.DiscardHandler)
	client, err := provider.NewClient(provider.ClientConfig{
		Dirs: []string{dir}, MaxResponse: 4 << 20, Timeout: time.Minute, Concurrency: 1, Log: log,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	stopped := make(chan error, 1)
	go func() {
		stopped <- provider.Serve(ctx, provider.Config{
			Name: "shelf", Endpoint: filepath.Join(dir, "shelf.sock"), SocketGID: -1, Log: log,
			Open: func(context.Context, *slog.Logger) (provider.Provider, error) { return openShelf(store) },
		})
	}()

	order(ctx, client, "shop", "password")
	order(ctx, client, "shop", "username")
	order(ctx, client, "blog", "../shop/password")
	order(ctx, client, "blog", "")
	fmt.Println("close:", client.Close())
	stop()
	fmt.Println("serve:", <-stopped)
	// Output:
	// fill the store: <nil>
	// -rw-r--r-- password: correct-horse
	// NotFound: provider "shelf": read file "username": openat username: no such file or directory
	// Unknown: provider "shelf": read file "../shop/password": openat ../shop/password: path escapes from parent
	// Invalid: provider "shelf": parameter files is missing: name the files to mount, with spaces between
	// close: <nil>
	// serve: <nil>
}

// order asks for the files of a volume and prints the answer.
func order(ctx context.Context, client *provider.Client, namespace, files string) {
	req := &provider.Request{
		Pod: provider.Pod{Name: "web", Namespace: namespace}, Class: "files",
		Parameters: map[string]string{"files": files}, Mode: 0o644,
	}
	resp, err := client.Mount(ctx, "shelf", req)
	for provider.KindOf(err) == provider.Unavailable && ctx.Err() == nil { // the socket is not there yet
		time.Sleep(time.Millisecond)
		resp, err = client.Mount(ctx, "shelf", req)
	}
	if err != nil {
		fmt.Printf("%s: %v\n", provider.KindOf(err), err)
		return
	}
	for _, f := range resp.Files {
		fmt.Printf("%s %s: %s\n", f.Mode, f.Path, f.Contents)
	}
}
