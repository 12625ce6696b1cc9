package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"

	"github.com/strongroom/strongroom/tools/internal/image"
)

func main() {
	var cfg image.Config
	flag.StringVar(&cfg.Binary, "binary", "", "static binary to put into the image")
	flag.StringVar(&cfg.Entrypoint, "entrypoint", "", "absolute path of the binary in the image")
	flag.StringVar(&cfg.Tag, "tag", "", "repository:tag of the image")
	flag.StringVar(&cfg.User, "user", "65532", "user id that the binary runs as")
	flag.StringVar(&cfg.Arch, "arch", runtime.GOARCH, "architecture of the binary")
	flag.StringVar(&cfg.CAs, "cas", "/etc/ssl/certs/ca-certificates.crt", "CA certificates to put into the image")
	flag.StringVar(&cfg.Title, "title", "", "title label (default: the binary's name)")
	flag.StringVar(&cfg.Out, "out", "", "tar file to write")
	flag.Parse()
	if err := image.Write(cfg); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}
