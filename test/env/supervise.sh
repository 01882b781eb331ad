# Runs a server for as long as standard input, a pipe from the process that wants it, stays open. A line on
# the pipe has the server stand still (pause) or go on (resume), or asks it to end. The end of the pipe kills it,
# and then $1 is removed unless it is empty. The rest of $@ is the command.
unset SUPERVISE # the script itself, which is none of the server's business
data=$1
shift
exec 3<&0

# Sent by the reader below. The folder may still be written to by other servers that are being killed in this
# moment, so one rm may not be enough.
trap 'exec 2>/dev/null
wait $server $reader
if [ -n "$data" ]; then
	for try in 1 2 3 4 5 6 7 8 9 10; do
		rm -rf -- "$data"
		[ -e "$data" ] || break
		sleep 1
	done
fi
exit 137' USR1

"$@" 3<&- </dev/null &
server=$!

# The reader signals the shell first, because the shell ends the reader as soon as the server is gone. It kills
# the server itself, because the shell may have been killed too; that it can still be signalled says nothing,
# as a dead process can be until its parent has noticed.
(
	while read -r line; do
		case $line in
		pause) kill -STOP $server ;;
		resume) kill -CONT $server ;;
		*) kill -TERM $server ;;
		esac 2>/dev/null
	done
	kill -USR1 $$ 2>/dev/null
	kill -KILL $server 2>/dev/null
) <&3 &
reader=$!
exec 3<&-

# Shells would log here and above that a child of theirs was killed.
wait $server 2>/dev/null
status=$?
kill $reader 2>/dev/null
wait $reader 2>/dev/null
exit $status
