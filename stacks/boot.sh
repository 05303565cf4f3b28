#!/bin/bash
# A node's whole life: it makes its own WireGuard key, proves which instance it is by signing with the instance's
# credentials, brings the tunnel up, starts the application, asks to be opened to traffic, and joins again by itself
# whenever there is no live tunnel, whatever went wrong before. It knows no secret but its own and never prints that one.
#
# stacks/boot.py puts these in front (and so does a test):
#   ENROLL_URL           the function URL, with its last slash
#   APPLICATION_IMAGE    a container image, or empty when APPLICATION_COMMAND, an array, is to be run
#   APPLICATION_PORT     where the application answers on the tunnel's address
#   JOIN_LIMIT_S         how long a join may take: the launch hook's heartbeat
#
# It runs as EC2 user data, once, on stock Debian; with systemd it leaves units behind that survive a reboot, without
# systemd (containers, namespaces) it keeps its two processes itself. Running it twice changes nothing.
set -euo pipefail

readonly SELF=/usr/local/lib/drawbridge/node
readonly KEY=/etc/wireguard/private.key
readonly TUNNEL=/etc/wireguard/wg0.conf
readonly IMDS=http://169.254.169.254/latest
readonly WATCH_S=30 SILENT_S=180 # a live tunnel shakes hands every two minutes
readonly REST_S=600              # the longest pause between two joins that were refused
readonly RETRY=1 NOT_YET=2 FINAL=3 UNKNOWN=4
moved='' # not empty when the tunnel's address has changed and the application does not know yet

log() { printf '%s drawbridge: %s\n' "$(date -u +%FT%TZ)" "$*" >&2; }

has_systemd() { [[ -d /run/systemd/system ]]; }

# Runs a command until it succeeds, answers FINAL, or $deadline (in $SECONDS) is over; waits longer after each failure,
# but never long for what is merely not there yet. Returns FINAL or RETRY.
persist() {
  local doing=$1 wait=0 longest status
  shift
  while true; do
    status=0
    "$@" || status=$?
    if ((status == 0)); then return 0; fi
    if ((status == FINAL)); then
      log "$doing: refused"
      return "$FINAL"
    fi
    if ((SECONDS >= deadline)); then
      log "$doing: gave up after $JOIN_LIMIT_S s"
      return "$RETRY"
    fi
    if ((status == NOT_YET)); then longest=3; else longest=30; fi
    sleep "$((wait < longest ? wait : longest)).$((RANDOM % 10))"
    wait=$((wait < 30 ? wait * 2 + 1 : 30))
  done
}

# --- what the machine needs -----------------------------------------------------------------------------------------

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" >&2; }

install_missing() {
  local lean=() full=()
  if ! command -v wg-quick >/dev/null; then lean+=(wireguard-tools iproute2); fi
  if ! command -v jq >/dev/null; then lean+=(jq); fi
  if ! command -v curl >/dev/null; then lean+=(curl ca-certificates); fi
  # Podman's network is one of its recommendations.
  if [[ -n $APPLICATION_IMAGE ]] && ! command -v podman >/dev/null; then full+=(podman); fi
  if ((${#lean[@]} + ${#full[@]} == 0)); then return 0; fi
  log "installing ${lean[*]} ${full[*]}"
  apt update || return "$RETRY"
  if ((${#lean[@]})); then apt install --no-install-recommends "${lean[@]}" || return "$RETRY"; fi
  if ((${#full[@]})); then apt install "${full[@]}" || return "$RETRY"; fi
}

make_key() {
  if [[ ! -s $KEY ]]; then
    mkdir -p /etc/wireguard && (umask 077 && wg genkey >"$KEY.new") && mv "$KEY.new" "$KEY" || return "$RETRY"
  fi
  chmod 600 "$KEY"
}

# --- who this instance is -------------------------------------------------------------------------------------------

# Tokens and keys reach curl on its standard input: an argument could be read by every process on the machine.
metadata() {
  local token
  token=$(curl --silent --show-error --fail --noproxy '*' --max-time 5 --request PUT \
    --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$IMDS/api/token") || return "$RETRY"
  printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$token" |
    curl --silent --show-error --fail --noproxy '*' --max-time 5 --config - "$IMDS/meta-data/$1" || return "$RETRY"
}

identify() {
  instance=$(metadata instance-id) || return "$RETRY"
  region=$(metadata placement/region) || return "$RETRY"
  [[ $instance =~ ^i-[0-9a-f]+$ && $region =~ ^[a-z0-9-]+$ ]] || {
    log "reading the instance's metadata: wanted an instance id and a region, found ${instance@Q} and ${region@Q}"
    return "$RETRY"
  }
}

# Prints curl's configuration with the credentials of the moment; they change several times a day.
credentials() {
  local role fields
  role=$(metadata iam/security-credentials/) || return "$RETRY"
  mapfile -t fields < <(metadata "iam/security-credentials/$role" | jq -r '.AccessKeyId, .SecretAccessKey, .Token')
  [[ "${fields[*]}" =~ ^[A-Za-z0-9]+\ [A-Za-z0-9/+=]+\ [A-Za-z0-9/+=_.-]+$ ]] || {
    log "reading the credentials of role ${role@Q}: wanted a key, a secret and a token, found something else"
    return "$RETRY"
  }
  printf 'user = "%s:%s"\nheader = "x-amz-security-token: %s"\n' "${fields[@]}"
}

# --- talking to the enroll function ---------------------------------------------------------------------------------

# Posts BODY to PATH, signed; leaves the answer in $answer. 0 for 200, else NOT_YET, RETRY or FINAL; UNKNOWN when the
# core does not know this node, any more perhaps, and it has to enroll.
ask() {
  local path=$1 body=$2 signer status kind why
  signer=$(credentials) || return "$RETRY"
  status=$(printf '%s\n' "$signer" | curl --config - --silent --show-error --proto =https --connect-timeout 5 \
    --max-time 35 --max-filesize 65536 \
    --aws-sigv4 "aws:amz:$region:lambda" --header 'Content-Type: application/json' --data-raw "$body" \
    --output "$answer" --write-out '%{http_code}' "$ENROLL_URL$path") || return "$RETRY"
  if [[ $status == 200 ]]; then return 0; fi
  kind=$(jq -r '.kind // ""' "$answer" 2>/dev/null) || kind=''
  why=$(head -c 4096 "$answer" | jq -r '.error // .waiting_for // .Message // "no reason given"' 2>/dev/null |
    tr -cd '[:print:]' | head -c 300) || why='an answer that is not JSON'
  log "POST /$path: $status: $why"
  if [[ $status == 409 && $kind =~ ^(unknown_node|not_enrolled)$ ]]; then return "$UNKNOWN"; fi
  if [[ $status == 4?? && $(jq '.retryable == true' "$answer" 2>/dev/null) == true ]]; then return "$RETRY"; fi
  case $status in
    202) return "$NOT_YET" ;;
    # A role or a clock that is only seconds old is refused at first; a real refusal stays.
    403) if ((++forbidden > 5)); then return "$FINAL"; else return "$RETRY"; fi ;;
    408 | 425 | 429 | 5??) return "$RETRY" ;;
    *) return "$FINAL" ;;
  esac
}

want() {
  local name=$1 value=$2 shape=$3
  if [[ $value =~ ^($shape)$ ]]; then return 0; fi
  value=${value:0:80}
  log "reading the answer to /enroll: $name: wanted $shape, found ${value@Q}"
  return 1
}

# Writes wg0.conf from the answer in FILE, every value checked first: what stands there is obeyed by wg-quick as root.
write_tunnel() {
  local file=$1 fields octet='(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])'
  local ip="$octet(\.$octet){3}" host='[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?'
  local port='([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])'
  mapfile -t fields < <(jq -r '
    if type != "object" then error("no object") else . end
    | (.instance, .address, .core_address, .core_public_key, .endpoint, .mtu, .keepalive_s)
    | if type == "string" or type == "number" then tostring else error("no word") end' "$file" 2>/dev/null)
  if ((${#fields[@]} != 7)); then
    log "reading the answer to /enroll: wanted a JSON object with seven words, found something else"
    return 1
  fi
  want instance "${fields[0]}" "$instance" || return
  want address "${fields[1]}" "$ip/32" || return
  want core_address "${fields[2]}" "$ip" || return
  want core_public_key "${fields[3]}" '[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=' || return
  want endpoint "${fields[4]}" "$host:$port" || return
  want mtu "${fields[5]}" '12[89][0-9]|1[34][0-9]{2}' || return
  want keepalive_s "${fields[6]}" '[1-9][0-9]{0,2}' || return
  # printf is a builtin: the key is in no argument list and in no environment.
  (umask 077 && printf '%s\n' '[Interface]' "PrivateKey = $(<"$KEY")" "Address = ${fields[1]}" "MTU = ${fields[5]}" \
    '[Peer]' "PublicKey = ${fields[3]}" "Endpoint = ${fields[4]}" "AllowedIPs = ${fields[2]}/32" \
    "PersistentKeepalive = ${fields[6]}" >"$TUNNEL.new") || return
  mv "$TUNNEL.new" "$TUNNEL"
}

tunnel_address() { if [[ -s $TUNNEL ]]; then sed -n 's|^Address = \(.*\)/32$|\1|p' "$TUNNEL"; fi; }

enroll() {
  local before
  before=$(tunnel_address)
  ask enroll "{\"public_key\": \"$(wg pubkey <"$KEY")\"}" || return
  write_tunnel "$answer" || return "$FINAL"
  if [[ -n $before && $before != "$(tunnel_address)" ]]; then moved=yes; fi
  log "enrolled $instance at $(tunnel_address)"
}

ready() {
  local status=0
  ask ready '{}' || status=$?
  if ((status == UNKNOWN)); then
    log "the core does not know this node: enrolling again"
    enroll || return
    connect || return
    return "$NOT_YET"
  fi
  if ((status == 0)); then log "ready: open to traffic"; fi
  return "$status"
}

# --- joining --------------------------------------------------------------------------------------------------------

bring_up() {
  if has_systemd; then
    systemctl enable --quiet wg-quick@wg0
    systemctl restart wg-quick@wg0
    return
  fi
  if ip link show wg0 &>/dev/null; then wg-quick down wg0 >&2; fi
  wg-quick up wg0 >&2
}

connect() {
  bring_up || return "$RETRY"
  start application || return "$RETRY"
  if [[ -n $moved ]]; then restart_application || return "$RETRY"; fi
  moved=''
}

join() {
  deadline=$((SECONDS + JOIN_LIMIT_S)) forbidden=0
  persist 'installing packages' install_missing || return
  persist 'making a key' make_key || return
  persist 'reading the instance metadata' identify || return
  persist enrolling enroll || return
  persist 'bringing the tunnel up' connect || return
  persist 'asking for traffic' ready || return
}

silent() {
  local last
  last=$(wg show wg0 latest-handshakes 2>/dev/null | cut -f 2) || return 0
  [[ ! $last =~ ^[0-9]+$ ]] || (($(date +%s) - last > SILENT_S))
}

# The interface is taken down and up as well: it is dead anyway, and that asks again where the core's name points to.
# What was refused is asked again, ever less often: an operator may change his mind, and a core may be mended.
watch() {
  local wait=$WATCH_S status
  while true; do
    sleep "$wait"
    status=0
    if silent; then
      log "no handshake for more than $SILENT_S s: joining again"
      join || status=$?
    fi
    if ((status == FINAL)); then wait=$((wait * 2 < REST_S ? wait * 2 : REST_S)); else wait=$WATCH_S; fi
    if ((status)); then log "joining again: failed; looking again in $wait s"; fi
  done
}

# --- the application ------------------------------------------------------------------------------------------------

# A container is published on the tunnel's address alone, so the network in front cannot reach it whatever a security
# group says; and it has a network of its own, one hop further than the metadata service answers. A command is told
# where to listen by DRAWBRIDGE_ADDRESS and DRAWBRIDGE_PORT.
application() {
  local address port=$APPLICATION_PORT
  address=$(tunnel_address)
  if [[ -n $APPLICATION_IMAGE ]]; then
    exec podman run --rm --replace --name drawbridge-application --publish "$address:$port:$port" \
      --env DRAWBRIDGE_ADDRESS=0.0.0.0 --env DRAWBRIDGE_PORT="$port" "$APPLICATION_IMAGE"
  fi
  export DRAWBRIDGE_ADDRESS=$address DRAWBRIDGE_PORT=$port
  exec "${APPLICATION_COMMAND[@]}"
}

# Starts ROLE (application or watch), kept alive; nothing happens when it already runs.
start() {
  local role=$1
  if has_systemd; then
    printf '%s\n' '[Unit]' "Description=Drawbridge node: $role" 'After=network-online.target wg-quick@wg0.service' \
      'Wants=network-online.target' 'StartLimitIntervalSec=0' '[Service]' "ExecStart=$SELF $role" 'Restart=always' \
      'RestartSec=1' '[Install]' 'WantedBy=multi-user.target' |
      install --mode 0644 /dev/stdin "/etc/systemd/system/drawbridge-$role.service"
    systemctl daemon-reload
    systemctl enable --quiet --now "drawbridge-$role"
  else
    setsid --fork "$SELF" keep "$role" </dev/null >>"/var/log/drawbridge-$role.log" 2>&1
  fi
}

keep() {
  local role=$1
  exec 9>"/run/drawbridge-$role.lock"
  if ! flock --nonblock 9; then return 0; fi
  while true; do
    "$SELF" "$role" 9>&- &
    echo $! >"/run/drawbridge-$role.pid"
    wait $! || log "$role ended with status $?; starting it again"
    sleep 1
  done
}

restart_application() {
  log "the tunnel's address has changed: restarting the application"
  if has_systemd; then systemctl restart drawbridge-application; else kill "$(</run/drawbridge-application.pid)"; fi
}

boot() {
  local status=0
  if [[ $0 != "$SELF" ]]; then install -D --mode 0755 "$0" "$SELF"; fi
  join || status=$?
  start watch
  if ((status)); then log "joining: failed; the watch goes on trying"; fi
  return "$status"
}

main() {
  case ${1:-boot} in
    boot | watch)
      answer=$(mktemp)
      trap 'rm -f "$answer"' EXIT
      "${1:-boot}"
      ;;
    application) application ;;
    keep) keep "$2" ;;
    *) log "wanted boot, watch, application or keep ROLE, found ${1@Q}" && return 2 ;;
  esac
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main "$@"; fi
