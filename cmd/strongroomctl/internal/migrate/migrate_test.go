package migrate_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cluster"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/migrate"
)

// upstream is the driver as its manifests install it.
func upstream(t *testing.T) cluster.Driver {
	t.Helper()
	data, err := os.ReadFile("../../../../test/upstream/driver.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs := strings.Split(string(data), "\n---\n")
	var set appsv1.DaemonSet
	if err := yaml.Unmarshal([]byte(docs[len(docs)-1]), &set); err != nil {
		t.Fatal(err)
	}
	found := cluster.Drivers([]appsv1.DaemonSet{set})
	if len(found) != 1 || found[0].Ours {
		t.Fatalf("found %+v", found)
	}
	return found[0]
}

func provider(namespace, name, image, folder string) cluster.Provider {
	set := appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	set.Spec.Template.Spec = corev1.PodSpec{
		Containers: []corev1.Container{{Name: "provider", Image: image, Args: []string{"--endpoint=/provider/x.sock"}}},
		Volumes:    []corev1.Volume{{Name: "dir", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder}}}},
	}
	return cluster.Providers([]appsv1.DaemonSet{set}, []string{folder})[0]
}

func pod(name string, attributes map[string]string) corev1.Pod {
	attributes["secretProviderClass"] = "db"
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Labels: map[string]string{"pod-template-hash": "abc"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-abc", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
			Driver: "secrets-store.csi.k8s.io", VolumeAttributes: attributes,
		}}}}},
	}
}

// plain is upstream's driver alone, as it is installed in kube-system.
func plain(t *testing.T) *migrate.Snapshot {
	t.Helper()
	return &migrate.Snapshot{
		Version: "v1.36.3", Drivers: []cluster.Driver{upstream(t)}, Namespaces: map[string]corev1.Namespace{},
		CSIDriver: &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "secrets-store.csi.k8s.io"}, Spec: storagev1.CSIDriverSpec{RequiresRepublish: new(true)}},
	}
}

func dbClass(change func(*v1.SecretProviderClass)) func(*migrate.Snapshot) {
	c := v1.SecretProviderClass{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"}, Spec: v1.SecretProviderClassSpec{
		Provider: "vault", Parameters: map[string]string{"roleName": "r", "objects": "- {objectName: a, secretPath: secret/data/a, secretKey: b}"},
	}}
	change(&c)
	return func(s *migrate.Snapshot) { s.Classes = append(s.Classes, c) }
}

func secret(owner string, labels map[string]string) func(*migrate.Snapshot) {
	m := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", Labels: labels, OwnerReferences: []metav1.OwnerReference{{Kind: owner}}}}
	return func(s *migrate.Snapshot) {
		s.Secrets = append(s.Secrets, m)
		s.Namespaces["shop"] = corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"secrets-store.csi.x-k8s.io/sync": "enabled"}}}
	}
}

func fills(c *v1.SecretProviderClass) {
	c.Spec.SecretObjects = []*v1.SecretObject{{SecretName: "db", Type: "Opaque"}}
}

func both(one, other func(*migrate.Snapshot)) func(*migrate.Snapshot) {
	return func(s *migrate.Snapshot) { one(s); other(s) }
}

func providerIs(p cluster.Provider) func(*migrate.Snapshot) {
	return func(s *migrate.Snapshot) { s.Providers = append(s.Providers, p) }
}

// Each case adds these changes to those of the driver alone; TODO marks what has something to do.
func TestChanges(t *testing.T) {
	const usual = "/var/run/secrets-store-csi-providers"
	for _, tc := range []struct {
		name   string
		change func(*migrate.Snapshot)
		want   []string
		says   string
	}{
		{"nothing else", func(*migrate.Snapshot) {}, nil, "kubectl -n kube-system delete daemonset csi-secrets-store"},
		{"old cluster", func(s *migrate.Snapshot) { s.Version = "v1.29.1" }, []string{"KubernetesTooOld TODO"}, "v1.29.1"},
		{"windows", func(s *migrate.Snapshot) {
			d := s.Drivers[0]
			d.Set.Spec.Template.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "windows"}
			s.Drivers = append(s.Drivers, d)
		}, []string{"Windows TODO"}, "Windows"},
		{"ignored flag", func(s *migrate.Snapshot) { s.Drivers[0].Args["logtostderr"] = "" }, []string{"FlagsIgnored"}, "--logtostderr"},
		{"republish", func(s *migrate.Snapshot) { s.CSIDriver.Spec.RequiresRepublish = nil }, []string{"Republish"}, "becomes true"},
		{"audience", func(s *migrate.Snapshot) {
			s.CSIDriver.Spec.TokenRequests = []storagev1.TokenRequest{{Audience: "sts.amazonaws.com"}}
		}, []string{"Audiences TODO"}, "sts.amazonaws.com"},
		{"Vault", providerIs(provider("csi", "vault", "hashicorp/vault-csi-provider:1.7.0", usual)), []string{"TokenAudience TODO", "UpstreamVaultProvider TODO", "VersionKey TODO"}, "vault-csi-provider-hmac-key"},
		{"Azure add-on", providerIs(provider("kube-system", "aks-secrets-store-provider-azure", "mcr.microsoft.com/oss/v2/azure/secrets-store/provider-azure:v1.8", usual)), []string{"UpstreamAzureProvider TODO"}, "az aks disable-addons"},
		{"another", providerIs(provider("kube-system", "csi-aws", "example.com/aws:2", "/etc/kubernetes/secrets-store-csi-providers")), []string{"OtherProvider", "SocketFolder"}, "old folder"},
		{"another folder", providerIs(provider("kube-system", "x", "x", "/run/providers")), []string{"OtherProvider", "SocketFolder TODO"}, "--additional-provider-volume-paths"},
		{"ours", providerIs(provider("kube-system", "vault-csi-provider", "strongroom/provider-vault:dev", usual)), nil, ""},
		{"override", func(s *migrate.Snapshot) {
			s.Pods = []corev1.Pod{pod("web-1", map[string]string{"roleName": "x"}), pod("web-2", map[string]string{"roleName": "x", "providerName": "vault"})}
		}, []string{"AttributeOverride TODO"}, "roleName"},
		{"tokens", func(s *migrate.Snapshot) {
			s.Pods = []corev1.Pod{pod("web", map[string]string{"csi.storage.k8s.io/serviceAccount.tokens": "c4n4ry"})}
		}, []string{"TokensInAttributes TODO"}, "deployment shop/web"},
		{"group", func(s *migrate.Snapshot) {
			p := pod("web", map[string]string{})
			p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64)}
			s.Pods = []corev1.Pod{p}
		}, []string{"GroupOwnsFiles"}, "fsGroup"},
		{"nearly a field", dbClass(func(c *v1.SecretProviderClass) {
			c.Spec.Parameters["objects"] = strings.Replace(c.Spec.Parameters["objects"], "secretKey", "secretkey", 1)
		}), []string{"ClassRefused TODO"}, "secretKey"},
		{"good class", dbClass(func(*v1.SecretProviderClass) {}), nil, ""},
		{"history", dbClass(func(c *v1.SecretProviderClass) {
			c.Spec.Provider = "azure"
			c.Spec.Parameters = map[string]string{
				"keyvaultName": "shop", "tenantID": "t", "clientID": "c",
				"objects": "array:\n- |\n  objectName: a\n  objectType: secret\n  objectVersionHistory: 3\n",
			}
		}), []string{"AzureHistory TODO"}, "0 to N-1"},
		{"opt-in", dbClass(fills), []string{"SyncOptIn TODO"}, "kubectl label namespace shop"},
		{"Secret", both(dbClass(fills), secret("ReplicaSet", map[string]string{"secrets-store.csi.k8s.io/managed": "true"})), []string{"SecretTakenOver"}, "1 owners"},
		{"its labels", both(dbClass(fills), secret("ReplicaSet", map[string]string{"team": "a"})), []string{"SecretMetadata TODO", "SecretTakenOver"}, "team"},
		{"our Secret", both(dbClass(fills), secret("SyncedSecret", map[string]string{"team": "a"})), nil, ""},
		{"Secret of nobody", secret("ReplicaSet", nil), []string{"SecretUnclaimed"}, "no class lists it"},
		{"not allowed", func(s *migrate.Snapshot) { s.Unread = []string{"list pods: forbidden"} }, []string{"NotChecked TODO"}, "forbidden"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := plain(t)
			tc.change(s)
			check(t, migrate.Changes(s), append([]string{"Flags TODO", "Rotation TODO", "Sidecars", "UpstreamDriver TODO"}, tc.want...), tc.says)
		})
	}
}

func check(t *testing.T, all []migrate.Change, want []string, says string) {
	t.Helper()
	left := map[string]int{}
	for _, w := range want {
		left[w]++
	}
	for _, c := range all {
		name := c.ID
		if c.Do != "" {
			name += " TODO"
		}
		if left[name]--; left[name] < 0 {
			t.Errorf("unexpected: %+v", c)
		}
	}
	for name, n := range left {
		if n > 0 {
			t.Errorf("%s is missing", name)
		}
	}
	var out bytes.Buffer
	if err := migrate.Print(&out, all); err != nil || !strings.Contains(out.String(), says) {
		t.Errorf("%q is not in (%v)\n%s", says, err, &out)
	}
	if strings.Contains(out.String(), "c4n4ry") {
		t.Error("it shows a token")
	}
}

func TestNothing(t *testing.T) {
	all := migrate.Changes(&migrate.Snapshot{Version: "v1.36.3"})
	if len(all) > 0 || migrate.ToDo(all) {
		t.Errorf("%+v", all)
	}
}
