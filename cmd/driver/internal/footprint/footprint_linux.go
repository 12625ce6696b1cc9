package footprint

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Shed gives back what only the start of the process needed: heap, and the pages of
// the program file that were mapped while all the libraries set themselves up. The
// kernel maps again what is used again.
func Shed() error {
	debug.FreeOSMemory()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	fixed, err := isFixed(exe)
	if err != nil {
		return fmt.Errorf("look at the program: %w", err)
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("list mappings: %w", err)
	}
	defer func() { _ = maps.Close() }()
	var errs []error
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		start, end, ok := readOnly(lines.Text(), exe)
		if !ok || !fixed {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED); errno != 0 {
			errs = append(errs, fmt.Errorf("give back mapped pages: %w", errno))
		}
	}
	return errors.Join(errs...)
}

// isFixed says whether the program is not position independent. In one that is, the
// loader has written addresses into pages that are read-only now.
func isFixed(exe string) (bool, error) {
	file, err := elf.Open(exe)
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	return file.Type == elf.ET_EXEC, nil
}

// readOnly reads a line of /proc/PID/maps: is it a part of the program that nobody
// can have changed in memory?
func readOnly(line, exe string) (start, end uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[5] != exe || fields[1] != "r-xp" && fields[1] != "r--p" {
		return 0, 0, false
	}
	_, err := fmt.Sscanf(fields[0], "%x-%x", &start, &end)
	return start, end, err == nil && start < end
}
