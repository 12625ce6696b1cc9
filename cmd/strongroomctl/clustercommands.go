package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cluster"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/doctor"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/explain"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/migrate"
)

// clusterCommands are those that ask a cluster.
func clusterCommands() []cli.Command {
	return []cli.Command{
		{Name: "doctor", Short: "examine the driver, its providers and classes, and tell what is wrong and how to mend it", Run: runDoctor},
		{Name: "explain pod", Args: "NS/NAME", Short: "tell what is known about the volumes of a pod, never a value", Run: runExplain},
		{Name: "refresh class", Args: "NS/NAME", Short: "have all volumes of a class refreshed now", Run: runRefresh},
		{Name: "migrate check", Short: "tell what changes when this driver replaces the upstream one on this cluster", Run: runMigrate},
	}
}

func runDoctor(ctx context.Context, env *cli.Env, args []string) error {
	fs := env.Flags("doctor")
	options := cluster.Flags(fs)
	namespace := fs.String("n", "", "look at classes and volumes of this namespace only (default: all)")
	if _, err := env.Parse(fs, args, 0); err != nil {
		return err
	}
	api, err := options.Open()
	if err != nil {
		return err
	}
	snapshot, err := doctor.Read(ctx, api, *namespace)
	if err != nil {
		return err
	}
	all := doctor.Examine(snapshot)
	if all == nil {
		all = []doctor.Finding{}
	}
	if err := env.Print(all, func(w io.Writer) error { return doctor.Print(w, all) }); err != nil {
		return err
	}
	if len(all) > 0 {
		return cli.ErrFindings
	}
	return nil
}

// named reads the flags of a command that is about one object, and which it is.
func named(env *cli.Env, name string, args []string) (*cluster.Cluster, client.ObjectKey, error) {
	fs := env.Flags(name)
	options := cluster.Flags(fs)
	rest, err := env.Parse(fs, args, 1)
	if err != nil {
		return nil, client.ObjectKey{}, err
	}
	namespace, object, ok := strings.Cut(rest[0], "/")
	if !ok || namespace == "" || object == "" || strings.Contains(object, "/") {
		return nil, client.ObjectKey{}, cli.Usagef("%q is no NAMESPACE/NAME", rest[0])
	}
	api, err := options.Open()
	return api, client.ObjectKey{Namespace: namespace, Name: object}, err
}

func runExplain(ctx context.Context, env *cli.Env, args []string) error {
	api, pod, err := named(env, "explain pod", args)
	if err != nil {
		return err
	}
	facts, err := explain.Read(ctx, api, pod)
	if err != nil {
		return err
	}
	report := explain.Explain(facts)
	return env.Print(report, func(w io.Writer) error { return report.Print(w, time.Now()) })
}

// refreshed is what the command has done.
type refreshed struct {
	Class   string `json:"class"`
	Value   string `json:"value"` // of the annotation
	Volumes int    `json:"volumes"`
}

func runRefresh(ctx context.Context, env *cli.Env, args []string) error {
	api, name, err := named(env, "refresh class", args)
	if err != nil {
		return err
	}
	done := refreshed{Class: name.String(), Value: time.Now().UTC().Format(time.RFC3339Nano)}
	class := &v1.SecretProviderClass{}
	class.Namespace, class.Name = name.Namespace, name.Name
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1.RefreshAnnotation, done.Value)
	if err := api.Patch(ctx, class, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return fmt.Errorf("annotate secretproviderclass %s: %w", name, err)
	}
	var statuses v1.SecretProviderClassPodStatusList
	if err := api.List(ctx, &statuses, client.InNamespace(name.Namespace)); err != nil {
		return fmt.Errorf("secretproviderclass %s is annotated, but its volumes cannot be counted: %w", name, err)
	}
	for i := range statuses.Items {
		if statuses.Items[i].Status.SecretProviderClassName == name.Name {
			done.Volumes++
		}
	}
	return env.Print(done, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "class %s: its %d volumes are refreshed within a tenth of their interval, 30 seconds at most\n", done.Class, done.Volumes)
		return err
	})
}

func runMigrate(ctx context.Context, env *cli.Env, args []string) error {
	fs := env.Flags("migrate check")
	options := cluster.Flags(fs)
	if _, err := env.Parse(fs, args, 0); err != nil {
		return err
	}
	api, err := options.Open()
	if err != nil {
		return err
	}
	snapshot, err := migrate.Read(ctx, api)
	if err != nil {
		return err
	}
	all := migrate.Changes(snapshot)
	if all == nil {
		all = []migrate.Change{}
	}
	if err := env.Print(all, func(w io.Writer) error { return migrate.Print(w, all) }); err != nil {
		return err
	}
	if migrate.ToDo(all) {
		return cli.ErrFindings
	}
	return nil
}
