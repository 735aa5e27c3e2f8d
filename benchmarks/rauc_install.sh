# sh rauc_install.sh SYSTEM.CONF BUNDLE
#
# `rauc install` hands the work to `rauc service` over the system bus. Here both are on the private bus that
# dbus-run-session has started around this script, so that neither the machine's own bus nor its slots are touched.
# RAUC prints why an install failed on standard output, and only that it did on standard error. They change places, and
# what the service says goes to standard output: so the last line of the errors is the reason.

export DBUS_SYSTEM_BUS_ADDRESS="$DBUS_SESSION_BUS_ADDRESS"
rauc --conf="$1" --override-boot-slot=A service 2>&1 &
service=$!
bus=org.freedesktop.DBus
until dbus-send --system --print-reply --dest=$bus / $bus.NameHasOwner string:de.pengutronix.rauc | grep -q true; do
    kill -0 $service || exit
    sleep 0.01
done
rauc --conf="$1" install "$2" 3>&1 >&2 2>&3
status=$?
kill $service
wait $service
exit $status
