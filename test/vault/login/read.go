package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// credential is a user and the password that belongs to it.
type credential struct{ user, password string }

// read reads both files of one generation of the volume: between two reads
// through the links the volume may change. A generation that is removed
// meanwhile has a successor.
func read(dir string) (credential, error) {
	for {
		generation, err := os.Readlink(filepath.Join(dir, "..data"))
		if err != nil {
			return credential{}, err
		}
		c, err := readIn(filepath.Join(dir, generation))
		if !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
		if now, again := os.Readlink(filepath.Join(dir, "..data")); again != nil || now == generation {
			return c, err
		}
	}
}

func readIn(dir string) (credential, error) {
	user, err := os.ReadFile(filepath.Join(dir, "username"))
	if err != nil {
		return credential{}, err
	}
	password, err := os.ReadFile(filepath.Join(dir, "password"))
	return credential{user: string(user), password: string(password)}, err
}
