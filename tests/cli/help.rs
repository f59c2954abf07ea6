//! What the program says of itself.

use millrace_tests::run;

#[tokio::test]
async fn every_help_shows_examples() {
    for (args, example) in [
        (&["--help"][..], "millrace serve examples/chat"),
        (&["serve", "--help"], "millrace serve examples/chat"),
        (&["dev", "--help"], "millrace dev examples/chat"),
        (&["build", "--help"], "millrace build examples/chat"),
        (&["check", "--help"], "millrace check "),
    ] {
        let run = run(args).await;
        assert_eq!(run.code, Some(0), "{run:#?}");
        let (_, examples) = run.stdout.split_once("Example").expect("examples");
        assert!(examples.contains(example), "{example:?} is missing in {}", run.stdout);
    }
}

#[tokio::test]
async fn the_version_has_three_parts() {
    let run = run(["--version"]).await;
    assert_eq!(run.code, Some(0), "{run:#?}");
    let version = run.stdout.trim().strip_prefix("millrace ").expect("the program's name");
    // A release says behind it of which commit it is.
    let (version, commit) = version.split_once(' ').unwrap_or((version, "(0)"));
    let numbers = version.split('.').filter(|part| part.parse::<u32>().is_ok());
    assert_eq!(numbers.count(), 3, "{version}");
    let digits = commit.strip_prefix('(').and_then(|c| c.strip_suffix(')')).unwrap_or_default();
    assert!(!digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit()), "{commit}");
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_is_refused_with_2() {
    for (args, message) in [
        (&[][..], "Usage"),
        (&["serv"], "serv"),
        (&["serve"], "DIR"),
        (&["check"], "FILE"),
        (&["serve", ".", "--lisen", ":0"], "--lisen"),
        (&["serve", ".", "--listen", "nonsense"], "127.0.0.1:4000"),
        (&["serve", ".", "--listen", "127.0.0.1:99999"], "127.0.0.1:4000"),
    ] {
        let run = run(args).await;
        assert_eq!(run.code, Some(2), "{run:#?}");
        run.assert_says(&[message]);
    }
}
