# A pod that looks at the node stays for the whole run.
setup_suite() {
	load helpers
	node_names
	node_pod
}

teardown_suite() { drop strongroom-test; }
