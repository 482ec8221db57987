# A line of its own for the person in copies of /etc that only the test sees, and two ways to change the machine there.
mkdir etc
mount -t tmpfs none etc
cp -a /etc/. etc/ 2> /dev/null || true
printf 'tester:x:%s:%s::/:/bin/sh\n' "$uid" "$gid" >> etc/passwd
printf 'tester:x:%s:\n' "$gid" >> etc/group
printf 'tester:!:1::::::\n' >> etc/shadow
: > etc/subuid
: > etc/subgid
mount --bind etc /etc

# Ids that follow the person's own.
subordinate() {
    echo 'tester:700000:65536' > /etc/subuid
    echo 'tester:700000:65536' > /etc/subgid
}

# Programs that can be taken away.
own_bin() {
    mkdir layer
    mount -t tmpfs none layer
    mkdir layer/upper layer/work
    mount -t overlay none -o lowerdir=/usr/bin,upperdir=layer/upper,workdir=layer/work /usr/bin
}
