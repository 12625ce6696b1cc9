package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/soak/internal/testimony"
)

// fresh bounds how long ago a generation may have ended that is in a volume: the interval
// with its jitter, and two seconds for a busy machine.
const fresh = interval + interval/10 + 2*time.Second

// churn lets pods come and go, and meanwhile measures or breaks things. It lasts twice as
// long at most, if so much time is needed to break all.
func (s *soak) churn(ctx context.Context) error {
	most := s.lasts
	if s.faults {
		most *= 2
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var all sync.WaitGroup
	for slot := range s.pods {
		all.Go(func() { s.keep(ctx, slot) })
	}
	var grown error
	if s.faults {
		all.Go(func() {
			defer cancel() // pods come no more
			s.harm(ctx)
		})
	} else {
		all.Go(func() { grown = s.sample(ctx) })
	}
	all.Wait()
	s.log.Say("%d pods came", len(s.uids))
	return grown
}

// keep replaces one pod by the next again and again; the last one stays.
func (s *soak) keep(ctx context.Context, slot int) {
	wait(ctx, s.between(0, 10*time.Second))
	for n := 1; ctx.Err() == nil; n++ {
		p := pod(fmt.Sprintf("observer-%d-%d", slot, n), s.nodes[slot%len(s.nodes)].name, "synced")
		if err := s.api.Create(ctx, p); err != nil {
			wait(ctx, look) // the API server may be gone; a pod that came all the same is told by its report
			continue
		}
		s.mu.Lock()
		s.uids[string(p.UID)] = true
		s.mu.Unlock()
		wait(ctx, s.between(10*time.Second, time.Minute))
		s.end(ctx, p)
	}
}

// end deletes a pod and waits until it is gone, unless ctx is over.
func (s *soak) end(ctx context.Context, p *corev1.Pod) {
	for ctx.Err() == nil {
		if err := s.api.Delete(ctx, p); gone(err) {
			return
		}
		wait(ctx, look)
	}
}

// pod has an observer that watches its first volume. The second is that of a class that
// fills a Secret.
func pod(name, node, second string) *corev1.Pod {
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	readOnly, folder, grace := true, corev1.HostPathDirectoryOrCreate, int64(2)
	volume := func(class string) corev1.Volume {
		return corev1.Volume{Name: class, VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
			Driver: "secrets-store.csi.k8s.io", ReadOnly: &readOnly, VolumeAttributes: map[string]string{"secretProviderClass": class},
		}}}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: corev1.PodSpec{
			NodeName: node, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "observer", Image: "strongroom/observer:dev", ImagePullPolicy: corev1.PullIfNotPresent,
				Env: []corev1.EnvVar{field("POD_NAMESPACE", "metadata.namespace"), field("POD_NAME", "metadata.name"), field("POD_UID", "metadata.uid")},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "observed", MountPath: "/mnt/0", ReadOnly: true},
					{Name: second, MountPath: "/mnt/1", ReadOnly: true},
					{Name: "report", MountPath: "/report"},
				},
			}},
			Volumes: []corev1.Volume{volume("observed"), volume(second), {
				Name: "report", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: reportsOnNode, Type: &folder}},
			}},
		},
	}
}

// settle waits until every pod that is there sees fresh files. It does not wait for one
// that saw a violation: its observer looks no more, and the verdict tells.
func (s *soak) settle(ctx context.Context) error {
	return eventually(ctx, func() error {
		var pods corev1.PodList
		if err := s.api.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
			return err
		}
		reports, err := s.reports()
		seen := 0
		for _, p := range pods.Items {
			if p.DeletionTimestamp != nil {
				continue
			}
			seen++
			r, ok := reports[string(p.UID)]
			switch age := time.Since(r.Written); {
			case len(r.Violations) > 0:
			case !ok:
				err = errors.Join(err, fmt.Errorf("pod %s does not run yet: %s", p.Name, p.Status.Phase))
			case age > interval || r.Behind > fresh:
				err = errors.Join(err, fmt.Errorf("pod %s has content that ended %s ago, reported %s ago", p.Name, r.Behind, age))
			}
		}
		if seen == 0 {
			err = errors.Join(err, errors.New("there is no pod"))
		}
		return err
	})
}

func (s *soak) reports() (map[string]testimony.Report, error) {
	all := map[string]testimony.Report{}
	var errs []error
	for _, n := range s.nodes {
		reports, err := testimony.Read(n.reports())
		errs = append(errs, err)
		maps.Copy(all, reports)
	}
	return all, errors.Join(errs...)
}

// verdict prints what all observers saw, and fails if one saw what must not be.
func (s *soak) verdict() error {
	reports, err := s.reports()
	if err != nil {
		return err
	}
	var reads, generations int
	var longest time.Duration
	var violations []string
	for uid, r := range reports {
		s.uids[uid] = true
		reads += r.Reads
		generations += r.Generations
		longest = max(longest, r.Longest)
		violations = append(violations, r.Violations...)
	}
	s.log.Say("%d observers read %d whole volumes of %d generations; the longest that one was outdated: %s; %d violations",
		len(reports), reads, generations, longest.Round(time.Millisecond), len(violations))
	switch {
	case len(violations) > 0:
		slices.Sort(violations)
		return fmt.Errorf("%d violations:\n%s", len(violations), strings.Join(violations, "\n"))
	case len(reports) < s.pods || generations <= len(reports):
		return errors.New("the observers saw too little to say anything")
	}
	return nil
}
