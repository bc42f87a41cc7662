# Prints, as YAML, what the directory of a CA ($1) holds. Of the key it says only that it is there, and its mode.
echo "home: '$HOME'"
[ -d "$1" ] || exit 0
cd "$1" || exit

if [ -d issued ]; then echo 'issued: true'; fi
if [ -e rotation ]; then echo "rotation: $(cat rotation)"; fi
if [ -e crl.pem ]; then echo 'crl: true'; fi
if [ -e ca-key.pem ]; then echo "ca-key: '$(ls -dlL ca-key.pem | cut -c 1-10)'"; fi
for name in ca-cert ca; do
  if [ -e $name.pem ]; then
    echo "$name: |"
    sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/s/^/  /p' $name.pem || exit
  fi
done
