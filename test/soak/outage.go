package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/provider/providertest/witness"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/soak/internal/testimony"
)

// outages takes the API server away from pods that run: once it is stopped, so that
// connections stay open and nothing is answered, and once it is killed again and again.
// Meanwhile the pods' volumes rotate; afterwards all that the driver writes is right, and
// it has asked for little more than what it asks for all the time.
func (s *soak) outages(ctx context.Context) error {
	for slot := range s.pods {
		name := "filled-" + strconv.Itoa(slot)
		p := pod(fmt.Sprintf("observer-%d", slot), s.nodes[slot%len(s.nodes)].name, name)
		if err := errors.Join(s.api.Create(ctx, filling(name)), s.api.Create(ctx, p)); err != nil {
			return err
		}
		s.uids[string(p.UID)] = true
	}
	if err := s.log.Do("all pods run", func() error { return s.right(ctx) }); err != nil {
		return err
	}
	return errors.Join(
		s.outage(ctx, "stopped", func(gone context.Context) error {
			if err := s.nodes[0].signal(apiServer, syscall.SIGSTOP); err != nil {
				return err
			}
			<-gone.Done()
			return s.nodes[0].signal(apiServer, syscall.SIGCONT)
		}),
		s.outage(ctx, "killed", func(gone context.Context) error {
			for gone.Err() == nil {
				_ = s.nodes[0].signal(apiServer, syscall.SIGKILL) // it may not have come again yet
				wait(gone, look)
			}
			return nil
		}))
}

// filling is a class whose only file changes all the time, and fills a Secret.
func filling(name string) *v1.SecretProviderClass {
	c := class(name, "foo")
	c.Spec.Parameters["generations"] = interval.String()
	c.Spec.SecretObjects = []*v1.SecretObject{{
		SecretName: name, Type: "Opaque", Data: []*v1.SecretObjectData{{ObjectName: "foo", Key: "foo"}},
	}}
	return c
}

// outage takes the API server away and judges what the driver does when it is back.
func (s *soak) outage(ctx context.Context, how string, away func(gone context.Context) error) error {
	measured := min(30*time.Second, s.absent) // for which requests are counted
	begin := time.Now().Add(measured)
	wait(ctx, measured)
	usual, peak, err := s.requests(begin.Add(-measured), begin)
	if err != nil {
		return err
	}
	if err = s.without(ctx, begin, away); err != nil {
		return fmt.Errorf("the API server is %s: %w", how, err)
	}
	end := time.Now()
	if err = eventually(ctx, func() error { return s.api.List(ctx, &corev1.NamespaceList{}) }); err != nil {
		return fmt.Errorf("the API server was %s and does not come back: %w", how, err)
	}
	back := time.Now()
	if err = s.right(ctx); err != nil {
		return fmt.Errorf("after the API server was %s: %w", how, err)
	}
	took := time.Since(back)
	wait(ctx, time.Until(back.Add(measured)))
	after, most, err := s.requests(end, back.Add(measured))
	s.log.Say("the API server was %s for %s: all volumes, statuses and Secrets right %.1fs after it was back; "+
		"the driver asked %d times in %s before, at most %d times in a second, and after it %d times, at most %d in a second",
		how, end.Sub(begin).Round(time.Second), took.Seconds(), usual, measured, peak, after, most)
	if bound := bearable(usual, s.pods, measured); err == nil && after > bound {
		err = fmt.Errorf("after the API server was %s, the driver asked it %d times, which is more than %d", how, after, bound)
	}
	return err
}

// bearable is how often the driver may ask in a time after an outage: beside what it always
// does, it catches up once for each volume and each Secret. What it always does is less on
// a machine that is so busy that volumes are late.
func bearable(usual, pods int, measured time.Duration) int {
	const ofPod = 9 // requests in an interval, for two volumes and a Secret: the most that was seen
	return 2*max(usual, ofPod*pods*int(measured/time.Millisecond)/int(interval/time.Millisecond)) + 10*pods
}

// without takes the API server away, and does not let it come back before all volumes have
// rotated without it, or should have for long.
func (s *soak) without(ctx context.Context, begin time.Time, away func(gone context.Context) error) error {
	gone, cancel := context.WithCancel(ctx)
	defer cancel()
	rotated := make(chan error, 1)
	go func() {
		defer cancel()
		wait(gone, s.absent)
		rotated <- within(gone, 4*interval, func() error { return s.rotatedSince(begin) })
	}()
	err := away(gone)
	cancel()
	return errors.Join(err, <-rotated)
}

// rotatedSince says which volumes have no content of a generation that began after a time,
// or none of late, without asking the API server.
func (s *soak) rotatedSince(begin time.Time) error {
	most := min(time.Since(begin)-interval, 6*interval)
	return s.everyReport(func(r testimony.Report) error {
		if ended(r.Generation) > most {
			return fmt.Errorf("pod %s has content that ended %s ago, and nothing newer", r.Pod, ended(r.Generation))
		}
		return nil
	})
}

// allFresh says which volumes are outdated.
func (s *soak) allFresh() error {
	return s.everyReport(func(r testimony.Report) error {
		if r.Behind > fresh {
			return fmt.Errorf("pod %s has content that ended %s ago", r.Pod, r.Behind)
		}
		return nil
	})
}

func (s *soak) everyReport(judge func(testimony.Report) error) error {
	reports, err := s.reports()
	if err != nil {
		return err
	}
	for uid := range s.uids {
		r, ok := reports[uid]
		if !ok {
			err = errors.Join(err, fmt.Errorf("the observer in the pod with UID %s never reported", uid))
			continue
		}
		err = errors.Join(err, judge(r))
	}
	return err
}

// right waits until volumes, statuses and Secrets are those of now.
func (s *soak) right(ctx context.Context) error {
	return eventually(ctx, func() error {
		return errors.Join(s.allFresh(), s.statusesRight(ctx), s.secretsRight(ctx))
	})
}

// late is how old what the API server has may be: a volume is refreshed, and then written
// down.
const late = fresh + interval

func ended(generation int64) time.Duration {
	return time.Since(witness.Claim{Generation: generation + 1, Period: interval}.Began())
}

func (s *soak) statusesRight(ctx context.Context) error {
	var all v1.SecretProviderClassPodStatusList
	if err := s.api.List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return err
	}
	var errs []error
	if got := len(all.Items); got != 2*s.pods {
		errs = append(errs, fmt.Errorf("there are %d statuses for %d pods with two volumes each", got, s.pods))
	}
	for _, status := range all.Items {
		for _, o := range status.Status.Objects {
			generation, err := strconv.ParseInt(o.Version, 10, 64)
			if err != nil || ended(generation) > late {
				errs = append(errs, fmt.Errorf("status %s has version %q of %s, which ended %s ago", status.Name, o.Version, o.ID, ended(generation)))
			}
		}
	}
	return errors.Join(errs...)
}

func (s *soak) secretsRight(ctx context.Context) error {
	var all corev1.SecretList
	if err := s.api.List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return err
	}
	var errs []error
	if got := len(all.Items); got != s.pods {
		errs = append(errs, fmt.Errorf("there are %d Secrets, not %d", got, s.pods))
	}
	for _, secret := range all.Items {
		claim, err := witness.Check(map[string][]byte{"foo": secret.Data["foo"]})
		if err == nil && ended(claim.Generation) > late {
			err = fmt.Errorf("its generation ended %s ago", ended(claim.Generation))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("secret %s: %w", secret.Name, err))
		}
	}
	return errors.Join(errs...)
}

// requests counts those of the driver on all nodes in a time, and the most in a second,
// in the API server's log.
func (s *soak) requests(from, to time.Time) (all, most int, err error) {
	file, err := os.Open(filepath.Join(s.run, "log", "audit.log"))
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = file.Close() }()
	seconds := map[int64]int{}
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return all, most, nil
		} else if err != nil {
			return 0, 0, err
		}
		if at, ok := byDriver(line); ok && !at.Before(from) && at.Before(to) {
			all++
			seconds[at.Unix()]++
			most = max(most, seconds[at.Unix()])
		}
	}
}

// byDriver says when a request of the driver came.
func byDriver(line string) (at time.Time, ok bool) {
	const user = "system:serviceaccount:kube-system:secrets-store-csi-driver"
	if !strings.Contains(line, user) {
		return at, false
	}
	var event struct {
		User                     struct{ Username string }
		RequestReceivedTimestamp time.Time
	}
	err := json.Unmarshal([]byte(line), &event)
	return event.RequestReceivedTimestamp, err == nil && event.User.Username == user
}
