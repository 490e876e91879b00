# Turns users.acl into one for the names of the contract, which have no tag, on a Redis Cluster: sed -E -f untagged.sed users.acl
s/quantum:p28:(cursor|dead):\*/quantum:p28:{*}:\1:*/g
s/quantum:p28:totals/quantum:p28:{*}:totals/g
s/ \+ping / +ping +cluster|slots +command /
