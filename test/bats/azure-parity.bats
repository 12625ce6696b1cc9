#!/usr/bin/env bats
# What users of the existing Azure provider rely on, as its own suite has it: types of
# objects, formats, histories, clouds. Who asks is tested in azure.bats.
#
# In setup_file everything is made at once that takes time to start.

load helpers
load azure

NS=bats-azure-parity
VALUE=c4n4ry-azure # begins every value

setup_file() {
	fresh $NS
	kubectl label namespace $NS secrets-store.csi.x-k8s.io/sync=enabled
	azure_reset $NS none
	azure_credential $NS azure
	keys_and_secrets
	certificates
	classes
	credential=azure pods | kubectl apply -f - >/dev/null
	kubectl -n $NS wait --for=condition=Ready pods -l '!job-name' --timeout=120s >/dev/null
}

teardown_file() {
	drop $NS
	lawful
}

pods() {
	pod_yaml $NS types types
	pod_yaml $NS certs pem pfx ec
	pod_yaml $NS history history
	pod_yaml $NS synced synced tls
	pod_yaml $NS custom custom
}

keys_and_secrets() {
	local n
	azure_put plain "$VALUE-plain"
	azure_put bytes "$(printf 'a\0b' | base64)"
	azure_put digits 610062
	for n in 1 2 3; do azure_put versions "$VALUE-$n" $((1700000000 + n)) >"$BATS_FILE_TMPDIR/version-$n"; done
	azure_make keys rsa '{"key": "rsa-2048"}'
	azure_make keys rsa-hsm '{"key": "rsa-2048", "hsm": true}'
	azure_make keys ec-hsm '{"key": "ec-p256", "hsm": true}'
}

# certificates: PEM and PKCS#12 as a vault keeps them, the latter written by OpenSSL with
# its certificates in an order that is none.
certificates() {
	azure_make certificates pem '{"name": "pem.example.test", "intermediates": 1, "type": "application/x-pem-file"}'
	azure_make certificates pfx '{"name": "pfx.example.test", "intermediates": 2, "openssl": true, "order": [0, 2, 3, 1]}'
	azure_make certificates ec-pem '{"name": "ec.example.test", "key": "ec-p256", "intermediates": 1, "type": "application/x-pem-file"}'
	azure_make certificates ec-pfx '{"name": "ec.example.test", "key": "ec-p384", "intermediates": 1, "encryption": "aes"}'
	azure_make certificates tls '{"name": "tls.example.test", "intermediates": 1}'
	azure_make certificates tls '{"name": "tls.example.test", "intermediates": 1}'
}

# bundle NAME: its certificate, public key and secret.
bundle() {
	printf 'objectName: %s, objectType: %s, objectAlias: %s\n' "$1" cert "$1/cert" "$1" key "$1/key" "$1" secret "$1/secret"
}

# pfx NAME: its secret as PKCS#12, in base64 and binary.
pfx() {
	printf 'objectName: %s, objectType: secret, objectFormat: pfx, objectAlias: %s' "$1" "$1/pfx.txt"
	printf '\nobjectName: %s, objectType: secret, objectFormat: PFX, objectEncoding: base64, objectAlias: %s\n' "$1" "$1/pfx"
}

classes() {
	azure_class $NS types <<-END
		objectName: plain, objectType: secret
		objectName: plain, objectType: secret, objectAlias: deep/er/alias, filePermission: 0755
		objectName: bytes, objectType: secret, objectEncoding: base64
		objectName: digits, objectType: secret, objectEncoding: HEX
		objectName: versions, objectType: secret, objectVersion: $(cat "$BATS_FILE_TMPDIR/version-2")
		objectName: rsa, objectType: key
		objectName: rsa, objectType: key, objectAlias: rsa-alias
		objectName: rsa-hsm, objectType: key
		objectName: ec-hsm, objectType: key
	END
	bundle pem | azure_class $NS pem
	{ bundle pfx && pfx pfx; } | azure_class $NS pfx
	{ bundle ec-pem && bundle ec-pfx && pfx ec-pfx; } | azure_class $NS ec
	azure_class $NS history <<-END
		objectName: versions, objectType: secret, objectVersionHistory: 2
		objectName: versions, objectType: secret, objectVersionHistory: 9, objectAlias: all
		objectName: versions, objectType: secret, objectVersionHistory: 9, objectAlias: from, objectVersion: $(cat "$BATS_FILE_TMPDIR/version-2")
	END
	also=$(
		fills opaque plain=plain deep/alias=alias versions/0=newest versions/1=older
	) azure_class $NS synced <<-END
		objectName: plain, objectType: secret
		objectName: plain, objectType: secret, objectAlias: deep/alias
		objectName: versions, objectType: secret, objectVersionHistory: 2
	END
	also=$(
		type=kubernetes.io/tls
		fills tls tls=tls.crt tls=tls.key
		fills tls-history old/0=tls.crt old/0=tls.key | tail -n 1
	) azure_class $NS tls <<-END
		objectName: tls, objectType: secret
		objectName: tls, objectType: secret, objectVersionHistory: 2, objectAlias: old
	END
	azure_class $NS custom 'cloudEnvFileName: /etc/azure/copy.json' <<-END
		objectName: plain, objectType: secret
		objectName: plain, objectType: secret, objectAlias: alias
	END
}

@test "a secret is a file, also by an alias in a folder, with a mode of its own" {
	shows $NS types /mnt/0/plain "$VALUE-plain"
	shows $NS types /mnt/0/deep/er/alias "$VALUE-plain"
	[ "$(inside $NS types stat -L -c %a /mnt/0/plain)" = 644 ]
	[ "$(inside $NS types stat -L -c %a /mnt/0/deep/er/alias)" = 755 ]
}

@test "base64 and hexadecimal digits become bytes, and a version can be asked for" {
	for name in bytes digits; do [ "$(inside $NS types sh -c "od -An -tx1 /mnt/0/$name" | tr -d ' \n')" = 610062 ]; done
	shows $NS types /mnt/0/versions "$VALUE-2"
}

@test "a key is its public half, also one that an HSM keeps" {
	dir=$BATS_TEST_TMPDIR
	volume $NS types 0 "$dir"
	for name in rsa rsa-hsm ec-hsm; do
		head -n 1 "$dir/$name" | grep -x -e '-----BEGIN PUBLIC KEY-----'
		openssl pkey -pubin -in "$dir/$name" -noout -text >"$dir/text"
		grep -e 'Public-Key: (2048 bit)' -e 'ASN1 OID: prime256v1' "$dir/text"
	done
	cmp "$dir/rsa" "$dir/rsa-alias"
	! cmp -s "$dir/rsa" "$dir/rsa-hsm"
}

# matches DIR NAME: certificate, public key and private key of a bundle are one, for that
# name, and the certificates of the secret are a chain, the leaf first.
matches() {
	local want certs=$BATS_TEST_TMPDIR/certs
	want=$(cat "$1/key")
	[ "$(openssl x509 -in "$1/cert" -noout -pubkey)" = "$want" ]
	[ "$(openssl pkey -in "$1/secret" -pubout)" = "$want" ]
	[ "$(openssl x509 -in "$1/secret" -noout -fingerprint -sha256)" = "$(openssl x509 -in "$1/cert" -noout -fingerprint -sha256)" ]
	openssl x509 -in "$1/cert" -noout -checkhost "$2" | grep 'does match'
	[ "$(grep -c 'BEGIN PRIVATE KEY' "$1/secret")" = 1 ]
	head -n 1 "$1/secret" | grep -x -e '-----BEGIN PRIVATE KEY-----'
	rm -rf "$certs" && mkdir "$certs"
	sed '/BEGIN PRIVATE KEY/,/END PRIVATE KEY/d' "$1/secret" |
		awk -v dir="$certs" '/BEGIN CERTIFICATE/ { n++ } { print >(dir "/" n) } END { exit n < 2 }'
	local n=1
	while [ -e "$certs/$((n + 1))" ]; do
		openssl verify -partial_chain -trusted "$certs/$((n + 1))" "$certs/$n"
		n=$((n + 1))
	done
}

# halves DIR: the files beside the secret are its certificates and its key.
halves() {
	cmp <(sed '/BEGIN PRIVATE KEY/,/END PRIVATE KEY/d' "$1/secret") "$1/secret.crt"
	cmp <(sed -n '/BEGIN PRIVATE KEY/,/END PRIVATE KEY/p' "$1/secret") "$1/secret.key"
}

@test "certificate, key and secret of a certificate are one bundle, for PEM and PKCS#12, RSA and EC" {
	dir=$BATS_TEST_TMPDIR
	for n in 0 1 2; do volume $NS certs $n "$dir"; done
	matches "$dir/pem" pem.example.test
	matches "$dir/pfx" pfx.example.test
	matches "$dir/ec-pem" ec.example.test
	matches "$dir/ec-pfx" ec.example.test
	[ "$(grep -c 'BEGIN CERTIFICATE' "$dir/pfx/secret")" = 4 ] # in the vault they were in another order
	for name in pem pfx ec-pem ec-pfx; do halves "$dir/$name"; done
}

@test "a PKCS#12 file is what is in the vault, as base64 and as bytes, and has no password" {
	dir=$BATS_TEST_TMPDIR
	for n in 1 2; do volume $NS certs $n "$dir"; done
	for name in pfx ec-pfx; do
		base64 -d "$dir/$name/pfx.txt" | cmp - "$dir/$name/pfx"
		openssl pkcs12 -in "$dir/$name/pfx" -passin pass: -nodes -out "$dir/opened"
		[ "$(openssl pkey -in "$dir/opened" -pubout)" = "$(cat "$dir/$name/key")" ]
		[ ! -e "$dir/$name/pfx.crt" ]
	done
}

@test "a history is a folder with the newest version at 0, from the version that is named" {
	dir=$BATS_TEST_TMPDIR
	volume $NS history 0 "$dir"
	[ "$(cd "$dir" && grep -r . versions all from | sort)" = "$(printf '%s\n' "all/0:$VALUE-3" "all/1:$VALUE-2" "all/2:$VALUE-1" \
		"from/0:$VALUE-2" "from/1:$VALUE-1" "versions/0:$VALUE-3" "versions/1:$VALUE-2")" ]
}

@test "files, aliases and parts of a history fill a Secret" {
	eventually 30 holds_field $NS opaque plain "$VALUE-plain"
	holds_field $NS opaque alias "$VALUE-plain"
	holds_field $NS opaque newest "$VALUE-3"
	holds_field $NS opaque older "$VALUE-2"
}

@test "one object fills both keys of a TLS Secret, also a part of a history" {
	dir=$BATS_TEST_TMPDIR
	for name in tls tls-history; do
		eventually 30 field $NS $name tls.key >"$dir/key"
		field $NS $name tls.crt >"$dir/crt"
		[ "$(kubectl -n $NS get secret $name -o jsonpath='{.type}')" = kubernetes.io/tls ]
		[ "$(openssl x509 -in "$dir/crt" -noout -pubkey)" = "$(openssl pkey -in "$dir/key" -pubout)" ]
		openssl x509 -in "$dir/crt" -noout -checkhost tls.example.test | grep 'does match'
	done
}

@test "the status has the ids and versions that users of the existing provider know" {
	eventually 30 versions $NS history history >"$BATS_TEST_TMPDIR/versions"
	jq -e 'keys == ["secret/versions/0", "secret/versions/1", "secret/versions/2"] and all(.[]; test("^[0-9a-f]{32}$"))' "$BATS_TEST_TMPDIR/versions"
	eventually 30 versions $NS types types >"$BATS_TEST_TMPDIR/versions"
	jq -e 'keys == ["key/ec-hsm", "key/rsa", "key/rsa-hsm", "secret/bytes", "secret/digits", "secret/plain", "secret/versions"]
		and all(.[]; test("^[0-9a-f]{32}$"))' "$BATS_TEST_TMPDIR/versions"
	jq -e --arg version "$(cat "$BATS_FILE_TMPDIR/version-2")" '."secret/versions" == $version' "$BATS_TEST_TMPDIR/versions"
	eventually 30 versions $NS certs pfx | jq -e 'keys == ["cert/pfx", "key/pfx", "secret/pfx"] and (map(.) | unique | length == 1)'
}

@test "a cloud of one's own is defined by a file, which must be in the operator's folder" {
	shows $NS custom /mnt/0/plain "$VALUE-plain"
	shows $NS custom /mnt/0/alias "$VALUE-plain"
	elsewhere absent /etc/azure/none.json
	elsewhere outside /proc/self/environ
	elsewhere above /etc/azure/../../proc/self/environ
	eventually 60 failed_with $NS absent 'cloudName AzureStackCloud is not valid' 'none.json' 'no such file'
	eventually 60 failed_with $NS outside 'allows only cloud files below /etc/azure'
	eventually 60 failed_with $NS above 'allows only cloud files below /etc/azure'
}

# elsewhere NAME FILE: a class whose cloud is defined there, and a pod of that class.
elsewhere() {
	azure_class $NS "$1" "cloudEnvFileName: $2" <<<'objectName: plain, objectType: secret'
	credential=azure pod $NS "$1" "$1"
}

@test "an object that the class writes wrongly is named, with what is allowed" {
	azure_class $NS wrong <<<'objectName: plain, objectType: secret, filePermission: 0888'
	azure_class $NS kind <<<'objectName: plain, objectType: certificate'
	for name in wrong kind; do credential=azure pod $NS $name $name; done
	eventually 60 failed_with $NS wrong 'failed to get objectType:secret, objectName:plain, objectVersion:' 'filePermission' '0888'
	eventually 60 failed_with $NS kind 'objectType' 'certificate' 'cert'
}

@test "no value and no credential is in any log, event or status" {
	keep_logs
	kubectl -n $NS get spcps,spc -o yaml >>"$LOGS"
	grep -q 'secret/versions/0' "$LOGS" # it does look at the right things
	! grep -nF -e "$VALUE" -e 'PRIVATE KEY' -e eyJhbGciOi -e eyJ0eXAi "$LOGS"
}
