# Removes the folders of this user that this collection has made and that hold nothing any more, and says which.
contexts=${DOCKER_CONFIG:-$HOME/.docker}/contexts
# The lock comes with every run and goes with it; that is no news.
if [ "$(ls -A "$contexts/.bulkhead" 2>/dev/null)" = lock ]; then rm -r "$contexts/.bulkhead"; fi
for folder in "$contexts/meta" "$contexts/tls" "$contexts" \
  "$HOME/.bulkhead/identities" "$HOME/.bulkhead/pending" "$HOME/.bulkhead"; do
  if rmdir "$folder" 2>/dev/null; then echo "$folder"; fi
done
