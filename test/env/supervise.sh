# Runs a server for as long as standard input, a pipe from the process that wants it, stays open.
# $1 is a folder to remove when that process is gone, or empty; the rest is the command.
# Every line on the pipe asks the server to end; the end of the pipe kills it.
orphaned=$1
shift
exec 3<&0

# Sent by the reader below: nobody is left who wants the server or its data. The folder may still be
# written to by other servers that are being killed in this moment, so one rm may not be enough.
trap 'kill -KILL $server 2>/dev/null
wait $server 2>/dev/null
if [ -n "$orphaned" ]; then
	for try in 1 2 3 4 5 6 7 8 9 10; do
		rm -rf -- "$orphaned" 2>/dev/null
		[ -e "$orphaned" ] || break
		sleep 1
	done
fi
exit 137' USR1

"$@" 3<&- </dev/null &
server=$!

# The reader tells the shell first, because the shell ends the reader as soon as the server is gone. Where
# the shell has been killed, the reader does its work.
(
	while read -r line; do
		kill -TERM $server 2>/dev/null
	done
	kill -USR1 $$ 2>/dev/null || kill -KILL $server 2>/dev/null
) <&3 &
reader=$!
exec 3<&-

wait $server
status=$?
kill $reader 2>/dev/null
exit $status
