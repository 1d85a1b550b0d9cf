# What Mail::SpamAssassin finds: for each file named on standard input one line "path<TAB>NAME=count NAME=count ...",
# sub-rules included. Local tests only, no classifier, no lists that learn, nothing kept.
# Usage: perl spamassassin_peer.pl RULES_FOLDER PRE_FOLDER STATE_FOLDER < paths
use strict;
use warnings;
use Mail::SpamAssassin;

my ($rules, $pre, $state) = @ARGV;
my $checker = Mail::SpamAssassin->new({
    rules_filename       => $rules,
    site_rules_filename  => $pre,
    userprefs_filename   => "$state/user_prefs",
    userstate_dir        => $state,
    home_dir_for_helpers => $state,
    LOCAL_STATE_DIR      => "$state/updates",
    local_tests_only     => 1,
    dont_copy_prefs      => 1,
    post_config_text     => "use_bayes 0\nuse_auto_welcomelist 0\nuse_txrep 0\ntime_limit 0\n",
});
$checker->init(0);
$| = 1;
while (my $path = <STDIN>) {
    chomp $path;
    open(my $file, '<:raw', $path) or die "$path: $!";
    my $content = do { local $/; <$file> };
    close $file;
    my $message = $checker->parse($content, 0);
    my $status  = $checker->check($message);
    my $found   = $status->{tests_already_hit};
    print "$path\t", join(' ', map { "$_=$found->{$_}" } grep { $found->{$_} } sort keys %$found), "\n";
    $status->finish;
    $message->finish;
}
