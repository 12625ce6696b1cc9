package tmpfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// memoryName is the extended attribute of a generation's directory that holds its
// memory. Pods can neither read nor write attributes of this class.
const memoryName = "trusted.strongroom"

const maxMemory = 1 << 16 // the kernel's limit

// remember gives the directory of a generation its memory; nil is none.
func remember(root *os.Root, name string, memory []byte) error {
	if memory == nil {
		return nil
	}
	dir, err := root.Open(name)
	if err != nil {
		return fmt.Errorf("write what the volume remembers: %w", err)
	}
	defer closeQuietly(dir)
	if err = unix.Fsetxattr(int(dir.Fd()), memoryName, memory, 0); err != nil {
		return fmt.Errorf("write what the volume remembers: %w", err)
	}
	return nil
}

// recall reads the memory of the generation in use; nil if it has none.
func recall(root *os.Root) ([]byte, error) {
	dir, err := root.Open(dataLink)
	if err != nil {
		return nil, err
	}
	defer closeQuietly(dir)
	for size := 1 << 10; ; size = maxMemory {
		buffer := make([]byte, size)
		n, err := unix.Fgetxattr(int(dir.Fd()), memoryName, buffer)
		switch {
		case errors.Is(err, unix.ENODATA):
			return nil, nil
		case errors.Is(err, unix.ERANGE) && size < maxMemory:
			continue
		case err != nil:
			return nil, err
		}
		return buffer[:n], nil
	}
}
