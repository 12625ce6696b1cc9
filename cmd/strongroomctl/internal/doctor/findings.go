package doctor

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
)

// Word names a kind of finding. It is stable, and a heading of docs/strongroomctl.md.
type Word string

// The words, in the order in which findings are told: what is first explains what follows.
const (
	NotChecked          Word = "NotChecked"
	DriverMissing       Word = "DriverMissing"
	UpstreamDriver      Word = "UpstreamDriver"
	DriverNotReady      Word = "DriverNotReady"
	DriverNotRegistered Word = "DriverNotRegistered"
	ProviderNotReady    Word = "ProviderNotReady"
	KubeletTooOld       Word = "KubeletTooOld"
	CSIDriverMissing    Word = "CSIDriverMissing"
	CSIDriverField      Word = "CSIDriverField"
	TokensInSecrets     Word = "TokensInSecrets"
	AudienceMissing     Word = "AudienceMissing"
	CRDMissing          Word = "CRDMissing"
	CRDOutdated         Word = "CRDOutdated"
	RightMissing        Word = "RightMissing"
	RightTooMuch        Word = "RightTooMuch"
	PolicyMissing       Word = "PolicyMissing"
	PolicyOfAnother     Word = "PolicyOfAnother"
	ClassIncomplete     Word = "ClassIncomplete"
	ProviderMissing     Word = "ProviderMissing"
	SyncNotAllowed      Word = "SyncNotAllowed"
	VolumeNotRefreshed  Word = "VolumeNotRefreshed"
	SecretNotFilled     Word = "SecretNotFilled"
)

// Words are all there are, in their order.
func Words() []Word {
	return []Word{
		NotChecked, DriverMissing, UpstreamDriver, DriverNotReady, DriverNotRegistered, ProviderNotReady, KubeletTooOld,
		CSIDriverMissing, CSIDriverField, TokensInSecrets, AudienceMissing, CRDMissing, CRDOutdated, RightMissing, RightTooMuch,
		PolicyMissing, PolicyOfAnother, ClassIncomplete, ProviderMissing, SyncNotAllowed, VolumeNotRefreshed, SecretNotFilled,
	}
}

// Finding is one thing that is wrong.
type Finding struct {
	ID     Word   `json:"id"`
	Object string `json:"object"` // of which it is told: "csidriver secrets-store.csi.k8s.io"
	Cause  string `json:"cause"`
	Cure   string `json:"cure"`
}

func found(id Word, object, cause, cure string) Finding { return Finding{id, object, cause, cure} }

// Examine finds what is wrong.
func Examine(s *Snapshot) []Finding {
	var all []Finding
	for _, check := range []func(*Snapshot) []Finding{
		unreadFindings, drivers, driverPods, registered, providerPods, kubelets, csiDriver, audiences, crds,
		rights, policies, classes, filled, volumes,
	} {
		all = append(all, check(s)...)
	}
	if d := s.Driver(); d != nil {
		ofRelease(all, d.Set.Namespace, d.Set.Annotations["meta.helm.sh/release-name"])
	}
	order := map[Word]int{}
	for i, word := range Words() {
		order[word] = i
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(order[a.ID]-order[b.ID], cmp.Compare(a.Object, b.Object))
	})
	return all
}

// ofRelease has Helm put back what it installed: manifests beside a release would change it.
func ofRelease(all []Finding, namespace, release string) {
	for i := range all {
		if slices.Contains([]Word{CSIDriverMissing, RightMissing, PolicyMissing}, all[i].ID) && release != "" {
			all[i].Cure = fmt.Sprintf("helm -n %s upgrade %s CHART --reuse-values, with the chart that it was installed from, puts it back", namespace, release)
		}
	}
}

func unreadFindings(s *Snapshot) []Finding {
	var all []Finding
	for _, u := range s.Unread {
		all = append(all, found(NotChecked, u.What, "could not be read, so what depends on it was not examined: "+u.Err.Error(),
			"run doctor as somebody who may read it, an administrator of the cluster for instance"))
	}
	return all
}

// oneLine is a text as it fits into a table: what others say may have many lines.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// Print writes findings for a person.
func Print(w io.Writer, all []Finding) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "nothing is wrong that doctor looks for")
		return err
	}
	for i, f := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, f.ID)
		err := cli.Table(w, nil, [][]string{{"  object", f.Object}, {"  cause", oneLine(f.Cause)}, {"  cure", f.Cure}})
		if err != nil {
			return err
		}
	}
	return nil
}
