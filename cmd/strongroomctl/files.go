package main

import (
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/grants"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/lint"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/render"
)

// fileCommands are those that need files and no cluster.
func fileCommands() []cli.Command {
	return []cli.Command{
		{Name: "lint", Args: "FILE|FOLDER|-...", Short: "check classes before they are applied", Run: lint.Run},
		{Name: "render", Args: "FILE --values FILE", Short: "show which files and Secrets a class makes", Run: render.Run},
		{Name: "grants", Args: "FILE --service-account NS/NAME", Short: "print what the store must allow", Run: grants.Run},
	}
}
