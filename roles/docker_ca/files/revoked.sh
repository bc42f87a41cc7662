# Prints, as YAML, what the CA in directory $1 knows of the client whose files begin with $2: certificates and each CA's own certificate.
set -eu
cd "$1"
echo "path: '$PWD'"
if [ -e rotation ]; then echo "rotation: $(cat rotation)"; fi
for name in . previous; do
  if [ -e "$name/ca-cert.pem" ]; then
    echo "$name: |"
    sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/s/^/  /p' "$name/ca-cert.pem"
  fi
done
echo 'issued: |'
for file in issued/"$2"*.pem; do
  if [ -e "$file" ]; then sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/s/^/  /p' "$file"; fi
done
