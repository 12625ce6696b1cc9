package render

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/manifest"
)

// Run is the command "render".
func Run(_ context.Context, env *cli.Env, args []string) error {
	fs := env.Flags("render")
	from := fs.String("values", "", "YAML file with what the store holds; without it sizes are not known")
	show := fs.Bool("show", false, "print what the files hold, too")
	names, err := env.Parse(fs, args, -1)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return cli.Usagef("name files or folders with classes, or - for standard input")
	}
	values, err := Load(*from)
	if err != nil {
		return err
	}
	classes, troubles, err := manifest.Open(env.In, names)
	if err != nil {
		return err
	}
	for _, t := range troubles {
		return fmt.Errorf("%s:%d: %s", t.File, t.Line, t.Text)
	}
	if len(classes) == 0 {
		return errors.New("there is no " + manifest.Kind + " in what was given")
	}
	volumes := []*Volume{}
	for _, c := range classes {
		v, err := Render(c.Decode(), values)
		if err != nil {
			return fmt.Errorf("class %s: %w", c, err)
		}
		v.Class = c.String()
		if *show {
			v.show()
		}
		volumes = append(volumes, v)
	}
	return env.Print(volumes, func(w io.Writer) error { return write(w, volumes) })
}

func write(w io.Writer, volumes []*Volume) error {
	for i, v := range volumes {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := v.Text(w); err != nil {
			return err
		}
	}
	return nil
}
