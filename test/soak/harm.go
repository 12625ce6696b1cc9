package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The programs that are killed, by the names of their files.
const (
	driver    = "secrets-store-csi"
	provider  = "fakeprovider"
	apiServer = "kube-apiserver"
)

// fault is something that is done to a node.
type fault struct {
	name  string
	do    func(ctx context.Context, n node) error
	first bool // node only, which has the control plane
}

// deck is drawn from until all were drawn once; then it begins anew.
type deck struct {
	all, rest []fault
	rounds    int // that have begun
}

func (d *deck) draw(s *soak) fault {
	if len(d.rest) == 0 {
		d.rest = append(d.rest, d.all...)
		d.rounds++
		s.mu.Lock()
		s.rng.Shuffle(len(d.rest), func(i, j int) { d.rest[i], d.rest[j] = d.rest[j], d.rest[i] })
		s.mu.Unlock()
	}
	f := d.rest[0]
	d.rest = d.rest[1:]
	return f
}

// owed is how many were never drawn.
func (d *deck) owed() int {
	switch d.rounds {
	case 0:
		return len(d.all)
	case 1:
		return len(d.rest)
	}
	return 0
}

// deaths are of programs.
func (s *soak) deaths() *deck {
	kill := func(program string) func(context.Context, node) error {
		return func(_ context.Context, n node) error { return n.signal(program, syscall.SIGKILL) }
	}
	return &deck{all: []fault{
		{"kill the driver", s.killer(driver, "secrets-store-csi-driver"), false},
		{"kill the driver", s.killer(driver, "secrets-store-csi-driver"), false},
		{"kill the provider", s.killer(provider, "e2e-provider"), false},
		{"kill kubelet", kill("kubelet"), false},
		{"kill containerd", kill("containerd"), false},
		{"kill the API server", kill(apiServer), true},
		{"stop the API server for a while", s.stopAPI, true},
	}}
}

// lapses are of the provider.
func (s *soak) lapses() *deck {
	d := &deck{all: []fault{{"let the provider hang", s.misbehave("delay?for=1h"), false}}}
	for _, k := range []string{"Invalid", "NotFound", "Denied", "Unavailable", "Throttled", "Timeout", "Busy", "TooLarge", "Internal", "Unknown"} {
		d.all = append(d.all, fault{"let the provider answer " + k, s.misbehave("fail?kind=" + k), false})
	}
	for _, as := range []string{"empty", "oversize", "dot", "parent", "conflict", "garbage"} {
		d.all = append(d.all, fault{"let the provider answer with files: " + as, s.misbehave("spoil?as=" + as), false})
	}
	return d
}

// harm kills and breaks, and mends what does not mend itself.
func (s *soak) harm(ctx context.Context) {
	defer s.mend(context.WithoutCancel(ctx))
	s.inTurn(ctx, s.deaths(), s.lapses())
}

// inTurn draws from one deck and the other. When time runs out, it only draws deaths that
// were not drawn yet; what is owed then, because API calls took long, is done until ctx ends.
func (s *soak) inTurn(ctx context.Context, deaths, lapses *deck) {
	end := time.Now().Add(s.lasts)
	inTime, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	wait(inTime, s.scaled(15*time.Second, 15*time.Second, 1)) // the first pods come undisturbed
	for turn := 0; inTime.Err() == nil; turn++ {
		left := time.Until(end) - s.absence(1) // which is one of the deaths
		if turn%2 == 0 || left < time.Duration(deaths.owed()+1)*s.calm(1)+s.lapse(1) {
			s.strike(inTime, deaths)
		} else {
			s.strike(inTime, lapses)
		}
		wait(inTime, s.calm(s.chance()))
	}
	for deaths.owed() > 0 && ctx.Err() == nil {
		s.strike(ctx, deaths)
		wait(ctx, s.calm(s.chance()))
	}
}

// strike does what is drawn, to a node that is drawn.
func (s *soak) strike(ctx context.Context, d *deck) {
	f, n := d.draw(s), s.nodes[s.number(len(s.nodes))]
	if f.first {
		n = s.nodes[0]
	}
	if err := f.do(ctx, n); err != nil {
		s.log.Say("%s on %s: not done: %v", f.name, n.name, err)
		d.rest = append(d.rest, f)
		return
	}
	s.log.Say("%s on %s", f.name, n.name)
}

// absence is how long the API server is stopped, between the shortest for a part of 0
// and the longest for 1. In a short run it is less.
func (s *soak) absence(part float64) time.Duration {
	return s.scaled(15*time.Second, 40*time.Second, part)
}

// calm is the time between two faults.
func (s *soak) calm(part float64) time.Duration { return s.scaled(2*time.Second, 8*time.Second, part) }

// lapse is how long the provider misbehaves.
func (s *soak) lapse(part float64) time.Duration {
	return s.scaled(3*time.Second, 12*time.Second, part)
}

// scaled lies between two times, and in a run of less than three minutes below, in
// proportion: everything dies once in a minute.
func (s *soak) scaled(least, most time.Duration, part float64) time.Duration {
	short := min(1, s.lasts.Minutes()/3)
	return time.Duration(short * (float64(least) + part*float64(most-least)))
}

// chance is between 0 and 1.
func (s *soak) chance() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Float64()
}

func (s *soak) number(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

// killer kills a program that is a container. Every other time its pod goes too: a
// container that was killed often is started again later and later.
func (s *soak) killer(program, app string) func(context.Context, node) error {
	return func(ctx context.Context, n node) error {
		if err := n.signal(program, syscall.SIGKILL); err != nil {
			return err
		}
		s.kills[program+n.name]++
		if s.kills[program+n.name]%2 == 1 {
			return nil
		}
		return s.onPods(ctx, n, client.MatchingLabels{"app": app}, func(p *corev1.Pod) error {
			return client.IgnoreNotFound(s.api.Delete(ctx, p, client.GracePeriodSeconds(1)))
		})
	}
}

// stopAPI leaves connections to the API server open, and nothing is answered.
func (s *soak) stopAPI(ctx context.Context, n node) error {
	if err := n.signal(apiServer, syscall.SIGSTOP); err != nil {
		return err
	}
	wait(ctx, s.absence(s.chance()))
	return n.signal(apiServer, syscall.SIGCONT)
}

// misbehave tells the provider what to do, and after a while to be good again.
func (s *soak) misbehave(how string) func(context.Context, node) error {
	return func(ctx context.Context, n node) error {
		if err := s.tell(ctx, n, http.MethodPut, how); err != nil {
			return err
		}
		wait(ctx, s.lapse(s.chance()))
		return s.good(context.WithoutCancel(ctx), n)
	}
}

// good undoes every misbehaviour.
func (s *soak) good(ctx context.Context, n node) error {
	return errors.Join(s.tell(ctx, n, http.MethodPut, "delay?for=0s"),
		s.tell(ctx, n, http.MethodDelete, "fail"), s.tell(ctx, n, http.MethodPut, "spoil?as="))
}

func (s *soak) mend(ctx context.Context) {
	for _, n := range s.nodes {
		if err := eventually(ctx, func() error { return s.good(ctx, n) }); err != nil {
			s.log.Say("the provider on %s could not be told to be good again: %v", n.name, err)
		}
	}
}

// tell gives the scripted provider of a node an order.
func (s *soak) tell(ctx context.Context, n node, method, order string) error {
	path, query, _ := strings.Cut(order, "?")
	told := 0
	err := s.onPods(ctx, n, client.MatchingLabels{"app": "e2e-provider"}, func(p *corev1.Pod) error {
		told++
		request := s.pages.CoreV1().RESTClient().Verb(method).Namespace(p.Namespace).Resource("pods").
			Name(p.Name + ":8080").SubResource("proxy").Suffix(path)
		for pair := range strings.SplitSeq(query, "&") {
			if key, value, ok := strings.Cut(pair, "="); ok {
				request = request.Param(key, value)
			}
		}
		return request.Do(ctx).Error()
	})
	if err == nil && told == 0 {
		err = fmt.Errorf("no scripted provider on %s", n.name)
	}
	return err
}

// onPods does something to the pods of a node in kube-system that have a label.
func (s *soak) onPods(ctx context.Context, n node, labels client.MatchingLabels, do func(*corev1.Pod) error) error {
	var pods corev1.PodList
	if err := s.api.List(ctx, &pods, client.InNamespace("kube-system"), labels); err != nil {
		return fmt.Errorf("list the pods of %v: %w", labels, err)
	}
	var errs []error
	for _, p := range pods.Items {
		if p.Spec.NodeName == n.name && p.DeletionTimestamp == nil {
			errs = append(errs, do(&p))
		}
	}
	return errors.Join(errs...)
}
