#!/bin/bash
# Writes docs/recording.md: what the demo prints, of a real run that has just been made.
# The values in it are the demo's own.
cd "$(dirname "$0")/.." || exit 1
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
begin=$(date +%s)
test/demo.sh 2>&1 | tee "$out"
[ "${PIPESTATUS[0]}" = 0 ] || { echo 'the demo has failed: docs/recording.md is as it was' >&2; exit 1; }
cat >docs/recording.md <<-END
	# A recording of \`make demo\`

	\`make recording\` has written this page, from one real run: $(($(date +%s) - begin)) seconds on $(nproc) processors ($(uname -m)),
	Linux $(uname -r | cut -d . -f 1,2), once images, Kubernetes and Vault were built. The number in brackets is the time since the
	beginning. Usernames and passwords are the demo's.

	\`\`\`text
	$(sed -E "s/\x1b\[[0-9;]*m//g; s/[[:space:]]+\$//; s#$HOME/#~/#g" "$out" | sed '1{/^$/d}')
	\`\`\`
END
