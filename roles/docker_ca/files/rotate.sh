# Takes the CA in directory $1 to phase $2 of its replacement, and says as YAML where it is. Without $2 it brings the files in line with
# the phase that it is in, and with `look` it changes nothing.
# `rotation` holds the phase, and is written before the files move: whoever runs this again after a kill ends what had begun.
set -eu
cd "$1"
umask 077

phase() { if [ -e rotation ]; then cat rotation; else echo none; fi; }
picture() { phase; cat ca-key.pem ca-cert.pem ca.pem crl.pem 2>/dev/null | cksum; ls -d next previous 2>/dev/null || true; }
certificate() { sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/p' "$1/ca-cert.pem"; }
# The first list of a file is the one of the CA beside it; others follow for those who need one for each CA of the bundle.
list() { sed '/^-----END X509 CRL-----/q' "$1/crl.pem"; }

replace() { # $1, by what comes in
  cat >".$1.new"
  chmod 644 ".$1.new"
  if cmp -s ".$1.new" "$1"; then rm ".$1.new"; else mv -f ".$1.new" "$1"; fi
}

swap() { # the successor signs from now on, the old CA stays known
  mkdir -p previous
  for file in ca-key ca-cert crl; do
    if [ -e "next/$file.pem" ]; then
      [ -e "previous/$file.pem" ] || ln "$file.pem" "previous/$file.pem"
      mv -f "next/$file.pem" "$file.pem"
    fi
  done
  rm -rf next
}

publish() { # the bundle, and as many revocation lists, the CA that signs first
  other=
  case $(phase) in
    trust) other=next ;;
    reissue) other=previous ;;
  esac
  { certificate .; [ -z "$other" ] || certificate $other; } | replace ca.pem
  { list .; [ -z "$other" ] || list $other; } | replace crl.pem
}

step() {
  case "$(phase) $1" in
    'none trust' | 'trust reissue' | 'reissue retire')
      echo "$1" >.rotation.new
      mv -f .rotation.new rotation
      ;;
  esac
  case $(phase) in
    reissue | retire) swap ;;
  esac
  publish
  if [ "$(phase) $1" = 'retire done' ]; then
    rm -rf next previous
    rm rotation
  fi
}

before=$(picture)
[ "${2:-}" = look ] || step "${2:-none}"
echo "path: '$PWD'"
echo "phase: $(phase)"
if [ "$before" = "$(picture)" ]; then echo 'changed: false'; else echo 'changed: true'; fi
