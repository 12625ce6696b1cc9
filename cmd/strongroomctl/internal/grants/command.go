package grants

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/manifest"
)

// Grant is what one identity is to be allowed at one store.
type Grant struct {
	Store   string   `json:"store"`
	Classes []string `json:"classes"`
	// Policy is the text of Vault's policy.
	Policy string `json:"policy,omitempty"`
	// Notes say what the commands leave to a person.
	Notes []string `json:"notes,omitempty"`
	// Commands are for a shell, in their order.
	Commands []string `json:"commands"`
}

// Text writes the grant as a script.
func (g *Grant) Text(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "# %s, for %s\n", oneLine(g.Store), oneLine(strings.Join(g.Classes, ", ")))
	for _, note := range g.Notes {
		fmt.Fprintf(&out, "# %s\n", oneLine(note))
	}
	for _, command := range g.Commands {
		out.WriteString(command + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// account is a service account.
type account struct{ namespace, name string }

// options are what the command line says.
type options struct {
	account account
	// name is that of the policy; "" makes one.
	name string
	// perVault asks for Azure's roles at the whole Key Vault.
	perVault bool
}

// Run is the command "grants".
func Run(_ context.Context, env *cli.Env, args []string) error {
	env.Terminal = true // what it prints is for a shell, and so is a pipe
	fs := env.Flags("grants")
	sa := fs.String("service-account", "", "service account of the pods, as NAMESPACE/NAME")
	name := fs.String("name", "", "name of Vault's policy (default NAMESPACE-NAME of the service account)")
	perVault := fs.Bool("per-vault", false, "assign roles at a whole Key Vault instead of at each object")
	files, err := env.Parse(fs, args, -1)
	if err != nil {
		return err
	}
	opts := options{name: *name, perVault: *perVault}
	if opts.account, err = parseAccount(*sa); err != nil {
		return err
	}
	if len(files) == 0 {
		return cli.Usagef("name files or folders with classes, or - for standard input")
	}
	classes, troubles, err := manifest.Open(env.In, files)
	if err != nil {
		return err
	}
	for _, t := range troubles {
		return fmt.Errorf("%s:%d: %s", t.File, t.Line, t.Text)
	}
	all, err := grantsFor(classes, opts)
	if err != nil {
		return err
	}
	return env.Print(all, func(w io.Writer) error {
		for i := range all {
			if i > 0 {
				fmt.Fprintln(w)
			}
			if err := all[i].Text(w); err != nil {
				return err
			}
		}
		return nil
	})
}

func parseAccount(text string) (account, error) {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return account{}, cli.Usagef("--service-account is %q: name that of the pods as NAMESPACE/NAME", text)
	}
	return account{namespace, name}, nil
}

// grantsFor makes a grant for each identity that the classes use.
func grantsFor(classes []*manifest.Class, opts options) ([]Grant, error) {
	var wrong []error
	vaults, azures := vaultIdentities{}, []Grant{}
	for _, c := range classes {
		class := c.Decode()
		if class.Namespace != "" && class.Namespace != opts.account.namespace {
			wrong = append(wrong, fmt.Errorf("class %s: pods mount classes of their own namespace only, and the service account is in %s", c, opts.account.namespace))
			continue
		}
		var err error
		switch class.Spec.Provider {
		case "vault":
			err = vaults.add(c.String(), class)
		case "azure":
			var g Grant
			g, err = azure(class, opts)
			g.Classes = []string{c.String()}
			azures = append(azures, g)
		default:
			err = fmt.Errorf("provider %q is none that this program knows: it knows vault and azure", class.Spec.Provider)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("class %s: %w", c, err))
		}
	}
	if err := vaults.conflicts(); err != nil {
		wrong = append(wrong, err)
	}
	switch {
	case len(wrong) > 0:
		return nil, errors.Join(wrong...)
	case len(classes) == 0:
		return nil, errors.New("there is no " + manifest.Kind + " in what was given")
	}
	return append(vaults.grants(opts), azures...), nil
}
