#include "fs/view/listing.h"

#include <gtest/gtest.h>

#include <string>

namespace varve::view {
namespace {

Listing listing_of(std::initializer_list<std::size_t> name_lengths) {
  Listing listing;
  for (const std::size_t length : name_lengths) listing.entries.push_back({.name = std::string(length, 'n')});
  return listing;
}

TEST(Listing, FillsItsLastPageWhenTheRecordsComeOutEven) {
  // 32 bytes each of "." and "..", and of names of 1 to 8 bytes.
  EXPECT_TRUE(listing_of({}).fills_its_last_page(64));
  EXPECT_FALSE(listing_of({}).fills_its_last_page(96));
  EXPECT_TRUE(listing_of({1, 8}).fills_its_last_page(128));
  EXPECT_FALSE(listing_of({1, 9}).fills_its_last_page(128));
  // 40, which the first page has no room for: it stays shorter.
  EXPECT_FALSE(listing_of({9}).fills_its_last_page(96));
  EXPECT_TRUE(listing_of({9, 17, 48}).fills_its_last_page(120));
}

TEST(KernelListing, StaysWhenNothingChanged) {
  KernelListing kernels;
  kernels.started(7);
  kernels.went_on(7);
  EXPECT_TRUE(kernels.may_stay_at_end(7, false));
  kernels.started(7);
  EXPECT_FALSE(kernels.may_stay_at_end(7, true));
  kernels.started(7);
  EXPECT_TRUE(kernels.may_stay_at_end(7, false));
}

TEST(KernelListing, DoesNotStayWhenSomebodyMayBeInTheMiddleOfAnOlderOne) {
  KernelListing kernels;
  kernels.started(1);
  kernels.started(2);
  EXPECT_FALSE(kernels.may_stay_at_end(2, false));
  kernels.started(2);
  EXPECT_TRUE(kernels.may_stay_at_end(2, false));
  kernels.started(3);
  kernels.started(3);
  EXPECT_FALSE(kernels.may_stay_at_end(3, false));
}

TEST(KernelListing, DoesNotStayWhenTheDirectoryChangesOnTheWay) {
  KernelListing kernels;
  kernels.started(1);
  EXPECT_FALSE(kernels.may_stay_at_end(2, false));
  kernels.started(2);
  kernels.went_on(3);
  EXPECT_FALSE(kernels.may_stay_at_end(2, false));
}

TEST(KernelListing, DoesNotStayWhenNobodyStartedIt) {
  EXPECT_FALSE(KernelListing().may_stay_at_end(0, false));
}

}  // namespace
}  // namespace varve::view
