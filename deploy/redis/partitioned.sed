# Turns users.acl into one for partitions (P28_PLAN_STREAMS) on a Redis Cluster: sed -E -f partitioned.sed users.acl
s/quantum:stream:apply\.(plan|heat\.observed|heat\.dead|heat\.redrive)/&:{*}/g
s/quantum:p28:(cursor|dead):\*/quantum:p28:{*}:\1:*/g
s/quantum:p28:totals/quantum:p28:{*}:totals/g
s/ \+ping / +ping +cluster|slots +command /
