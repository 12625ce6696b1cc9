package main

import (
	"strings"
	"testing"
)

type run struct {
	name, in string
	want     []string
	wantNot  []string
	line     string
	failed   int
}

func runs() []run {
	return []run{
		{
			name: "passed tests are silent",
			in: `{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"pass","Package":"p","Elapsed":1.25}
`,
			want: []string{"ok    p  1.2 s\n"}, wantNot: []string{"chatter"},
			line: "unit: 1 passed, 0 failed, 0 skipped",
		},
		{
			name: "failed tests and skips speak",
			in: `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: got 1\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:2: needs root\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"fail","Package":"p"}
`,
			want: []string{"got 1", "FAIL  p", "skip  TestB: b_test.go:2: needs root"},
			line: "unit: 0 passed, 1 failed, 1 skipped", failed: 1,
		},
		{
			name: "a package that does not build fails",
			in: `{"ImportPath":"p","Action":"build-output","Output":"p.go:1: undefined: x\n"}
{"Action":"fail","Package":"p"}
`,
			want: []string{"undefined: x"}, line: "unit: 0 passed, 1 failed, 0 skipped", failed: 1,
		},
		{
			name: "a panic shows what ran",
			in: `{"Action":"output","Package":"p","Test":"TestA","Output":"panic: no\n"}
{"Action":"fail","Package":"p"}
`,
			want: []string{"panic: no"}, line: "unit: 0 passed, 1 failed, 0 skipped", failed: 1,
		},
		{name: "plain lines pass through", in: "go: no such module\n", want: []string{"go: no such module"}, line: "unit: 0 passed, 0 failed, 0 skipped"},
	}
}

func TestSummary(t *testing.T) {
	for _, tc := range runs() {
		t.Run(tc.name, func(t *testing.T) {
			var out strings.Builder
			s := &summary{out: &out, output: map[string][]string{}}
			if err := s.read(strings.NewReader(tc.in)); err != nil {
				t.Fatal(err)
			}
			if got := s.close("unit"); got != tc.line {
				t.Errorf("closing line %q, want %q", got, tc.line)
			}
			if got := max(s.failed, s.packagesFailed); got != tc.failed {
				t.Errorf("failed = %d, want %d", got, tc.failed)
			}
			for _, want := range tc.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("output lacks %q:\n%s", want, &out)
				}
			}
			for _, not := range tc.wantNot {
				if strings.Contains(out.String(), not) {
					t.Errorf("output has %q:\n%s", not, &out)
				}
			}
		})
	}
}
