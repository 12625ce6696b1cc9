package rotation

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/provider"
)

// Each file in testdata/schedule is a scenario: what happens when, and, in lines that
// begin with ">", what the schedule starts when. Its README.md explains the words.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/schedule/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, got := play(t, string(text))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// stage plays one scenario.
type stage struct {
	t       *testing.T
	s       *schedule
	now     time.Time
	shift   time.Duration // what the clock shows beside the time that passed
	random  float64
	plans   map[string]plan
	answers map[string][]string
	log     []string
}

func play(t *testing.T, text string) (want, got []string) {
	st := &stage{t: t, now: time.Unix(0, 0), plans: map[string]plan{}, answers: map[string][]string{}}
	st.begin(100 * time.Second)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.Split(line, "#")[0])
		switch {
		case line == "":
		case strings.HasPrefix(line, ">"):
			want = append(want, strings.Join(strings.Fields(line[1:]), " "))
		default:
			words := strings.Fields(line)
			if words[0] == "interval" {
				st.begin(st.duration(words[1]))
				continue
			}
			st.until(time.Unix(0, 0).Add(st.duration(words[0])))
			st.do(words[1], words[2:])
		}
	}
	return want, st.log
}

func (st *stage) begin(interval time.Duration) {
	st.s = newSchedule(interval, "node", func(below time.Duration) time.Duration {
		return time.Duration(st.random * float64(below))
	})
	st.s.hash = func(parts ...string) uint64 { // an account named p30s has the phase of 30 s
		if d, err := time.ParseDuration(strings.TrimPrefix(parts[3], "p")); err == nil {
			return uint64(d)
		}
		return 0
	}
}

func (st *stage) clock() time.Time { return st.now.Add(st.shift) }

// until lets time pass, and has every refresh answered as the scenario says.
func (st *stage) until(end time.Time) {
	for steps := 0; ; steps++ {
		if steps > 10000 {
			st.t.Fatalf("the schedule does not come to rest at %v", st.since())
		}
		st.run()
		next := st.s.next()
		if next.IsZero() || next.After(end.Add(st.shift)) {
			break
		}
		if at := next.Add(-st.shift); at.After(st.now) {
			st.now = at
		}
	}
	if end.After(st.now) {
		st.now = end
		st.run()
	}
}

func (st *stage) run() {
	for {
		jobs := st.s.due(st.clock())
		if len(jobs) == 0 {
			return
		}
		slices.SortFunc(jobs, func(a, b job) int { return strings.Compare(a.target, b.target) })
		for _, j := range jobs {
			line := fmt.Sprintf("%s refresh %s %s", st.since(), j.target, j.trigger)
			if !j.notBefore.IsZero() {
				line += fmt.Sprintf(" not-before=%s", seconds(j.notBefore))
			}
			st.log = append(st.log, line)
		}
		for _, j := range jobs {
			if answer := st.answers[j.target]; len(answer) > 0 {
				st.do(answer[0], append([]string{j.target}, answer[1:]...))
			} else {
				st.do("succeed", []string{j.target})
			}
		}
	}
}

func (st *stage) since() string { return seconds(st.now) }

func seconds(t time.Time) string {
	return strconv.FormatFloat(t.Sub(time.Unix(0, 0)).Seconds(), 'f', -1, 64) + "s"
}

func (st *stage) do(word string, args []string) {
	target := ""
	if len(args) > 0 {
		target = args[0]
	}
	if st.happen(word, target, st.options(args)) || st.end(word, target, args) || st.look(word, target) {
		return
	}
	if word != "end" {
		st.t.Fatalf("unknown word %q", word)
	}
}

// happen is what comes from outside.
func (st *stage) happen(word, target string, options map[string]string) bool {
	switch word {
	case "publish", "restore":
		p := st.read(plan{provider: "vault", class: ClassName{"ns", "c"}, account: "sa", fetched: st.clock()}, options)
		st.plans[target] = p
		if word == "publish" {
			st.s.answered(st.clock(), p.provider, p.class)
		}
		st.s.put(st.clock(), target, p)
	case "unpublish":
		st.s.remove(st.clock(), target)
	case "wake":
		st.s.wake(st.clock(), target)
	case "change", "force":
		st.s.change(st.clock(), ClassName{"ns", target}, word == "force", func(string) bool { return true })
	case "clock":
		st.shift += st.duration(target)
	case "random":
		st.random, _ = strconv.ParseFloat(target, 64)
	case "restart": // all is forgotten; what volumes remember is put again
		st.begin(st.s.interval)
		for _, target := range slices.Sorted(maps.Keys(st.plans)) {
			st.s.put(st.clock(), target, st.plans[target])
		}
	default:
		return false
	}
	return true
}

// end is how a refresh ends, or all that follow.
func (st *stage) end(word, target string, args []string) bool {
	options := st.options(args)
	switch word {
	case "answer": // from now on
		st.answers[target] = args[1:]
	case "hang": // answers later
	case "succeed":
		p := st.plans[target]
		p.fetched, p.lease = st.clock(), 0
		p = st.read(p, options)
		st.plans[target] = p
		st.s.succeed(st.clock(), target, p)
	case "fail":
		st.s.fail(st.clock(), target, provider.KindNamed(args[1]), st.duration(options["retry-after"]))
	case "sleep":
		st.s.sleep(st.clock(), target)
	case "busy":
		st.s.later(st.clock(), target)
	default:
		return false
	}
	return true
}

// look writes down what is known of a volume.
func (st *stage) look(word, target string) bool {
	switch word {
	case "stale":
		at := st.s.staleAt(target)
		st.log = append(st.log, fmt.Sprintf("%s stale %s %v", st.since(), target, !at.IsZero() && !at.After(st.clock())))
	case "trouble":
		since, fails, asleep := st.s.trouble(target)
		line := fmt.Sprintf("%s trouble %s", st.since(), target)
		if !since.IsZero() {
			line += fmt.Sprintf(" since=%s fails=%d asleep=%v", seconds(since), fails, asleep)
		}
		st.log = append(st.log, line)
	default:
		return false
	}
	return true
}

func (st *stage) options(args []string) map[string]string {
	options := map[string]string{}
	for _, arg := range args {
		if key, value, ok := strings.Cut(arg, "="); ok {
			options[key] = value
		}
	}
	return options
}

func (st *stage) read(p plan, options map[string]string) plan {
	for key, value := range options {
		switch key {
		case "provider":
			p.provider = value
		case "class":
			p.class.Name = value
		case "account":
			p.account = value
		case "interval":
			p.interval = st.duration(value)
		case "lease":
			p.lease = st.duration(value)
		case "never":
			p.never = value == "true"
		case "fetched":
			p.fetched = time.Unix(0, 0).Add(st.duration(value))
		default:
			st.t.Fatalf("unknown option %q", key)
		}
	}
	return p
}

func (st *stage) duration(text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		st.t.Fatal(err)
	}
	return d
}

// In ten intervals a volume is refreshed nine to eleven times, and two refreshes are
// never nearer than nine tenths of an interval, whenever it was mounted and whatever
// the phase of its identity is.
func TestPace(t *testing.T) {
	const interval = 100 * time.Second
	for start := range 100 {
		for _, phase := range []int{0, 1, 49, 50, 51, 99} {
			begin := time.Unix(0, 0).Add(time.Duration(start) * time.Second)
			s := newSchedule(interval, "node", func(time.Duration) time.Duration { return 0 })
			s.hash = func(...string) uint64 { return uint64(phase) * uint64(time.Second) }
			s.put(begin, "v", plan{fetched: begin})
			n, last := 0, begin
			for now := s.next(); now.Sub(begin) <= 10*interval; now = s.next() {
				if gap := now.Sub(last); gap < interval*9/10 || gap > interval*11/10 {
					t.Fatalf("start %d, phase %d: %v between two refreshes", start, phase, gap)
				}
				if len(s.due(now)) != 1 {
					t.Fatal("not due")
				}
				s.succeed(now, "v", plan{fetched: now})
				n, last = n+1, now
			}
			if n < 9 || n > 11 {
				t.Errorf("start %d, phase %d: %d refreshes in 10 intervals", start, phase, n)
			}
			if past := last.Sub(time.Unix(int64(phase), 0)) % interval; past != 0 {
				t.Errorf("start %d, phase %d: still %v from the phase after 10 intervals", start, phase, past)
			}
		}
	}
}

// A volume that fails for itself is asked for less and less often, and the others of its
// class, whose accounts have phases of their own, are refreshed as if it were not there.
func TestOneFailsAmongMany(t *testing.T) {
	const interval = 100 * time.Second
	begin := time.Unix(0, 0)
	s := newSchedule(interval, "node", func(below time.Duration) time.Duration { return below / 2 })
	known := func(account string, at time.Time) plan {
		return plan{provider: "vault", class: ClassName{"ns", "c"}, account: account, fetched: at}
	}
	last := map[string]time.Time{}
	for n := range 50 {
		target := strconv.Itoa(n)
		s.put(begin, target, known(target, begin))
		last[target] = begin
	}
	tries := 0
	for now := begin; now.Sub(begin) < 20*interval; {
		jobs := s.due(now)
		for _, j := range jobs {
			if gap := now.Sub(last[j.target]); j.target != "7" && gap > interval*13/10 {
				t.Errorf("%s: not refreshed for %v", j.target, gap)
			}
			last[j.target] = now
			if j.target == "7" {
				tries++
				s.fail(now, j.target, provider.Unknown, 0)
				continue
			}
			s.succeed(now, j.target, known(j.target, now))
		}
		if next := s.next(); len(jobs) == 0 && next.After(now) {
			now = next
		}
	}
	if tries > 30 {
		t.Errorf("tried %d times in 20 intervals", tries)
	}
}
