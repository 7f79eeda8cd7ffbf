#include "launcher/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "imagetool/image/store/store.h"
#include "tests/unit/launcher/plan_fixture.h"

namespace varve::launcher {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class MakePlan : public PlanFixture {
 protected:
  MakePlan() {
    ::chmod(scratch_.write_file("varvefs", "").c_str(), 0755);
    host_.program_directory = scratch_.path();
    host_.effective_uid = 0;
  }
  RunOptions run_in_directory(std::vector<std::string> arguments = {"true"}) const {
    RunOptions options;
    options.image = root_;
    options.store = store_;
    options.arguments = std::move(arguments);
    return options;
  }
  // Puts an image with two layers into the store.
  RunOptions run_image(image::ImageConfig config) const {
    auto store = image::Store::open(store_);
    EXPECT_TRUE(store.ok());
    const auto bottom = store->put_blob(image::kLayerMediaType, "bottom");
    const auto top = store->put_blob(image::kLayerMediaType, "top");
    EXPECT_TRUE(bottom.ok() && top.ok());
    const auto put = store->put_image({"app", "1"}, std::move(config), {*bottom, *top});
    EXPECT_TRUE(put.ok()) << put.error().message;
    RunOptions options;
    options.image = "app:1";
    options.store = store_;
    return options;
  }
};

TEST_F(MakePlan, NothingIsMadeOnTheHost) {
  RunOptions options = run_image({});
  options.arguments = {"true"};
  ASSERT_TRUE(plan_of(options).ok());
  EXPECT_FALSE(std::filesystem::exists(store_ + "/containers"));
}

TEST_F(MakePlan, ImageConfigIsHonoured) {
  const auto plan = plan_of(run_image({.entrypoint = {"/entry"},
                                       .cmd = {"default"},
                                       .env = {"PATH=/opt/bin", "LEVEL=3"},
                                       .working_dir = "/srv",
                                       .user = "app:app"}));
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_THAT(plan->process.arguments, ElementsAre("/entry", "default"));
  EXPECT_EQ(plan->process.environment.get("PATH"), "/opt/bin");
  EXPECT_EQ(plan->process.environment.get("LEVEL"), "3");
  EXPECT_EQ(plan->process.working_directory, "/srv");
  EXPECT_EQ(plan->process.user, "app:app");
}

TEST_F(MakePlan, OptionsWinOverTheImageConfig) {
  RunOptions options =
      run_image({.entrypoint = {"/entry"}, .cmd = {"default"}, .env = {"LEVEL=3"}, .user = "app"});
  options.arguments = {"mine"};
  options.environment = {"LEVEL=4"};
  options.user = "0";
  options.working_directory = "/tmp";
  const auto plan = plan_of(options);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_THAT(plan->process.arguments, ElementsAre("/entry", "mine"));
  EXPECT_EQ(plan->process.environment.get("LEVEL"), "4");
  EXPECT_EQ(plan->process.user, "0");
  EXPECT_EQ(plan->process.working_directory, "/tmp");
}

TEST_F(MakePlan, GivenEntrypointTakesTheImagesCommandAway) {
  RunOptions options = run_image({.entrypoint = {"/entry"}, .cmd = {"default"}});
  options.entrypoint = "[\"sh\", \"-c\"]";
  EXPECT_THAT(plan_of(options)->process.arguments, ElementsAre("sh", "-c"));
  options.entrypoint = "/bin/other";
  EXPECT_THAT(plan_of(options)->process.arguments, ElementsAre("/bin/other"));
  options.entrypoint = "";
  EXPECT_THAT(complaint(options), HasSubstr("no command"));
  options.entrypoint = "[1]";
  EXPECT_THAT(complaint(options), HasSubstr("--entrypoint"));
}

TEST_F(MakePlan, TopLayerStandsFirst) {
  RunOptions options = run_image({.cmd = {"true"}});
  const auto plan = plan_of(options);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  const auto image = image::Store::open(store_)->resolve("app:1");
  EXPECT_THAT(plan->root.lowers, ElementsAre(image->layer_paths[1], image->layer_paths[0]));
}

TEST_F(MakePlan, ContainerOfAnImageHasItsOwnUpper) {
  RunOptions options = run_image({.cmd = {"true"}});
  options.name = "web";
  const auto plan = plan_of(options);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->root.upper, store_ + "/containers/web/upper");
  EXPECT_EQ(plan->root.work, store_ + "/containers/web/work");
  options.read_only = true;  // the image may lack the places of /run and so on
  EXPECT_EQ(plan_of(options)->root.upper, store_ + "/containers/web/upper");
  options.mounts.read_only_tmpfs = false;
  EXPECT_EQ(plan_of(options)->root.upper, "");
}

TEST_F(MakePlan, LayersMayHaveAnUpperOfTheCallers) {
  RunOptions options = run_in_directory();
  options.image.clear();
  options.layers = {root_};
  options.upper = scratch_.make_directory("upper");
  EXPECT_THAT(complaint(options), HasSubstr("--work"));
  options.work = scratch_.make_directory("work");
  const auto plan = plan_of(options);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->root.upper, options.upper);
  EXPECT_FALSE(plan->root.own_upper);
}

TEST_F(MakePlan, UpperOfADirectoryIsRefused) {
  RunOptions options = run_in_directory();
  options.upper = options.work = scratch_.make_directory("upper");
  EXPECT_THAT(complaint(options), HasSubstr("--upper"));
}

TEST_F(MakePlan, HostEnvironmentStaysOutside) {
  host_.variable = [](const std::string& name) { return std::optional<std::string>("host-" + name); };
  RunOptions options = run_in_directory();
  options.environment = {"WANTED"};
  const auto plan = plan_of(options);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_THAT(plan->process.environment.entries(),
              ElementsAre(StartsWith("PATH=/usr/local/sbin"), "TERM=xterm", "container=varve",
                          "WANTED=host-WANTED", StartsWith("HOSTNAME=")));
}

TEST_F(MakePlan, HostnameIsTheContainersName) {
  RunOptions options = run_in_directory();
  options.name = "web";
  EXPECT_EQ(plan_of(options)->hostname, "web");
  options.hostname = "box";
  EXPECT_EQ(plan_of(options)->hostname, "box");
  options.hostname = "a b";
  EXPECT_THAT(complaint(options), HasSubstr("a b"));
}

TEST_F(MakePlan, NameThatIsAPathIsRefused) {
  RunOptions options = run_in_directory();
  options.name = "../x";
  EXPECT_THAT(complaint(options), HasSubstr("../x"));
}

TEST_F(MakePlan, SharedHostNameCannotBeSet) {
  RunOptions options = run_in_directory();
  options.shared = *NamespaceSet::parse("uts");
  EXPECT_EQ(plan_of(options)->hostname, "");
  options.hostname = "box";
  EXPECT_THAT(complaint(options), HasSubstr("--share uts"));
}

TEST_F(MakePlan, OrdinaryUserNeedsItsOwnUserNamespace) {
  RunOptions options = run_in_directory();
  options.shared = *NamespaceSet::parse("user");
  EXPECT_EQ(complaint(options), "");
  host_.effective_uid = 1000;
  EXPECT_THAT(complaint(options), HasSubstr("user namespace"));
}

TEST_F(MakePlan, ImageNeedsItsOwnMountNamespace) {
  RunOptions options = run_image({.cmd = {"true"}});
  options.shared = *NamespaceSet::parse("mnt");
  EXPECT_THAT(complaint(options), HasSubstr("mnt"));
}

TEST_F(MakePlan, MissingImageAndDirectoryAreNamed) {
  RunOptions options = run_in_directory();
  options.image = "nosuch";
  EXPECT_THAT(complaint(options), HasSubstr("nosuch"));
  options.image = "/nosuch";
  EXPECT_THAT(complaint(options), HasSubstr("/nosuch"));
  options.image = scratch_.write_file("file", "");
  EXPECT_THAT(complaint(options), HasSubstr("--layers"));
}

TEST_F(MakePlan, MissingDaemonIsTold) {
  RunOptions options = run_image({.cmd = {"true"}});
  host_.program_directory = "/nonexistent";
  EXPECT_THAT(complaint(options), HasSubstr("varvefs"));
}

TEST_F(MakePlan, UnknownSecurityOptionIsRefused) {
  RunOptions options = run_in_directory();
  EXPECT_TRUE(plan_of(options)->process.no_new_privileges);
  options.security.words = {"no-new-privileges=false"};
  EXPECT_FALSE(plan_of(options)->process.no_new_privileges);
  for (const char* word :
       {"systempaths=unconfined", "no-new-privileges=maybe", "apparmor=docker-default", "seccomp="}) {
    options.security.words = {word};
    EXPECT_THAT(complaint(options), HasSubstr(word));
  }
  options.security = {.words = {}, .privileged = true};
  EXPECT_THAT(complaint(options), HasSubstr("--privileged"));
}

TEST_F(MakePlan, SeccompIsTheDefaultProfileUnlessAnotherIsNamed) {
  RunOptions options = run_in_directory();
  EXPECT_EQ(plan_of(options)->process.seccomp.profile, "default");
  EXPECT_FALSE(plan_of(options)->process.seccomp.program.empty());
  options.security.words = {"seccomp=unconfined", "label=disable", "apparmor=unconfined"};
  EXPECT_TRUE(plan_of(options)->process.seccomp.program.empty());
  const std::string file = scratch_.write_file("p.json", R"({"defaultAction": "SCMP_ACT_ALLOW"})");
  options.security.words = {"seccomp=" + file};
  EXPECT_EQ(plan_of(options)->process.seccomp.profile, file);
  EXPECT_THAT(to_text(*plan_of(options)), HasSubstr("seccomp:      " + file + " profile, "));
  scratch_.write_file("p.json", "{");
  EXPECT_THAT(complaint(options), HasSubstr(file + ": it is no JSON"));
  options.security.words = {"seccomp=/no/such/file"};
  EXPECT_THAT(complaint(options), HasSubstr("/no/such/file: No such file"));
}

TEST_F(MakePlan, TextShowsWhatWouldBeDone) {
  RunOptions options = run_in_directory({"sh", "-c", "it's"});
  options.name = "web";
  const std::string text = to_text(*plan_of(options));
  EXPECT_THAT(text, HasSubstr("container:    web\n"));
  EXPECT_THAT(text, HasSubstr("directory " + root_));
  EXPECT_THAT(text, HasSubstr("command:      sh -c 'it'\\''s'\n"));
}

}  // namespace
}  // namespace varve::launcher
