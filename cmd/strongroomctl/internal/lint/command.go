package lint

import (
	"context"
	"fmt"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/manifest"
)

// Run is the command "lint".
func Run(_ context.Context, env *cli.Env, args []string) error {
	fs := env.Flags("lint")
	strict := fs.Bool("strict", false, "exit with 1 for warnings, too")
	files, err := env.Parse(fs, args, -1)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return cli.Usagef("name files or folders, or - for standard input")
	}
	classes, troubles, err := manifest.Open(env.In, files)
	if err != nil {
		return err
	}
	result := Check(classes, troubles)
	if len(classes) == 0 {
		fmt.Fprintf(env.Err, "there is no %s in what was given\n", manifest.Kind)
	}
	if err := env.Print(result, result.Text); err != nil {
		return err
	}
	if result.Errors > 0 || *strict && result.Warnings > 0 {
		return cli.ErrFindings
	}
	return nil
}
