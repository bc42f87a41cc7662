# Removes the folders of this user that this collection has made and that hold nothing any more, and says which.
contexts=${DOCKER_CONFIG:-$HOME/.docker}/contexts
if [ "$(ls -A "$contexts/.bulkhead" 2>/dev/null)" = lock ]; then rm "$contexts/.bulkhead/lock"; fi
for folder in "$contexts/.bulkhead" "$contexts/meta" "$contexts/tls" "$contexts" \
  "$HOME/.bulkhead/identities" "$HOME/.bulkhead/pending" "$HOME/.bulkhead"; do
  if rmdir "$folder" 2>/dev/null; then echo "$folder"; fi
done
