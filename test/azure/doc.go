// Command azure runs an Azure of its own on this machine, for tests: an authority, key
// vaults, the metadata endpoint of a virtual machine, the token proxy of an AKS cluster
// and pod identity's NMI, see package cloud. Clients find it by the names of its hosts and
// trust the CA that it writes down.
//
//	azure --listen 10.0.0.1:443 --metadata 169.254.169.254:80 --control DIR/control.sock --state state.json --out DIR
//
// A machine whose nodes have networks of their own has a metadata endpoint in each, with
// --metadata-in and a process of each node. The address must be there: ip addr replace
// 169.254.169.254/32 dev lo.
//
// DIR/ca.pem is for SSL_CERT_FILE, DIR/stack.json for AZURE_ENVIRONMENT_FILEPATH with
// cloudName AzureStackCloud, DIR/cluster.pem for the ca.crt of a cluster that --cluster
// makes one of AKS. They are there once it listens, and are new with each start.
// The state is a cloud.State in JSON, such as
//
//	{
//	  "tenants": [{
//	    "id": "11111111-2222-3333-4444-555555555555", "domains": ["contoso.test"],
//	    "applications": [
//	      {"clientID": "aaaaaaaa-0000-0000-0000-000000000001", "secrets": ["a client secret"]},
//	      {"clientID": "aaaaaaaa-0000-0000-0000-000000000002",
//	       "federated": [{"issuer": "https://kubernetes.default.svc", "subject": "system:serviceaccount:shop:web"}]}]}],
//	  "vaults": [{
//	    "name": "shop", "tenant": "11111111-2222-3333-4444-555555555555",
//	    "access": {"aaaaaaaa-0000-0000-0000-000000000001": {"secrets": ["get", "list"]}},
//	    "objects": {"secrets": {"db": {"versions": [{"content": {"value": "hunter2"}}]}}}}],
//	  "machine": {"tenant": "11111111-2222-3333-4444-555555555555", "system": "aaaaaaaa-0000-0000-0000-000000000001"}
//	}
//
// cloud.Cloud.ControlHandler lists the orders that a script gives while it runs. The keys
// of a cluster come in by
//
//	kubectl get --raw /openid/v1/jwks | jq '[{url: "https://kubernetes.default.svc", jwks: .}]' |
//	  curl --fail --unix-socket DIR/control.sock -T - http://azure/issuers
package main
