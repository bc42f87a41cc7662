# Prints, as YAML, what this user's identities consist of, one list item for each name on stdin.
# Of a key it says only that it is there, its mode, and whether it is the certificate's.
mode() { ls -dlL "$1" | cut -c 1-10; }

while read -r name; do
  folder=$HOME/.bulkhead/identities/$name
  pending=$HOME/.bulkhead/pending/$name
  echo "- home: '$HOME'"
  echo '  pending:'
  for file in key cert; do
    if [ -e "$pending/$file.pem" ]; then echo "  - $file"; fi
  done
  if [ -d "$pending" ]; then echo "  pending_folder: $(mode "$pending")"; fi
  if [ -d "$folder" ]; then echo "  folder: $(mode "$folder")"; fi
  for file in key cert ca; do
    if [ -e "$folder/$file.pem" ]; then echo "  ${file}_mode: '$(mode "$folder/$file.pem")'"; fi
  done
  for file in cert ca; do
    if [ -e "$folder/$file.pem" ]; then
      echo "  $file: |"
      sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/s/^/    /p' "$folder/$file.pem" || exit
    fi
  done
  if [ -e "$folder/key.pem" ] && [ -e "$folder/cert.pem" ] && command -v openssl >/dev/null; then
    of_key=$(openssl pkey -in "$folder/key.pem" -passin pass: -pubout 2>/dev/null </dev/null)
    of_cert=$(openssl x509 -in "$folder/cert.pem" -noout -pubkey 2>/dev/null)
    if [ "$of_key" = "$of_cert" ]; then echo '  fits: true'; else echo '  fits: false'; fi
  fi
done
