package tmpfs

import (
	"sync"

	"github.com/strongroom/strongroom/provider"
)

const (
	pageSize = 4096
	headroom = 1 << 20
	// shortLink is the length from which tmpfs gives a symlink a page.
	shortLink = 127
)

// pagesOf is what the content of files takes, in bytes.
func pagesOf(files []provider.File) int64 {
	size := int64(0)
	for _, f := range files {
		size += (int64(len(f.Contents)) + pageSize - 1) / pageSize * pageSize
	}
	return size
}

// sizeFor is the size in bytes of a tmpfs for files: twice their pages, since a
// change holds two generations, a page for each top-level name whose symlink is too
// long to be kept in an inode, and 1 MiB.
func sizeFor(files []provider.File) int64 {
	size := headroom + 2*pagesOf(files)
	for _, f := range files {
		if len(visible(top(f.Path))) >= shortLink {
			size += 2 * pageSize
		}
	}
	return size
}

// budget counts the bytes of volumes and keeps the limits; 0 is none.
type budget struct {
	perVolume, perNode int64

	mu    sync.Mutex
	used  map[string]int64 // by target
	total int64
}

func newBudget(perVolume, perNode int64) *budget {
	return &budget{perVolume: perVolume, perNode: perNode, used: map[string]int64{}}
}

// reserve makes room for the content of a volume before it is written. The caller
// settles when it knows whether it was. Calls for one target do not overlap.
func (b *budget) reserve(target string, size int64) (settle func(written bool), err error) {
	if b.perVolume > 0 && size > b.perVolume {
		return nil, provider.Errorf(provider.TooLarge, "the content has %d bytes, and a volume may have %d: mount less, or raise --max-volume-bytes",
			size, b.perVolume)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.used[target]
	if more := size - before; b.perNode > 0 && more > 0 && b.total+more > b.perNode {
		return nil, provider.Errorf(provider.TooLarge, "volumes on this node have %d bytes of the %d that they may have, and this one needs %d more: "+
			"use other nodes, or raise --max-node-bytes", b.total, b.perNode, more)
	}
	b.set(target, max(before, size))
	return func(written bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if written {
			b.set(target, size)
		} else {
			b.set(target, before)
		}
	}, nil
}

// found counts a volume that is mounted already.
func (b *budget) found(target string, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(target, size)
}

func (b *budget) forget(target string) { b.found(target, 0) }

// set needs b.mu.
func (b *budget) set(target string, size int64) {
	b.total += size - b.used[target]
	b.used[target] = size
	if size == 0 {
		delete(b.used, target)
	}
}

func (b *budget) sum() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}
